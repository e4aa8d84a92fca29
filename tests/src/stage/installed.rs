//! An operator that is started as a Deployment says: every flag and variable is given.

use std::collections::BTreeMap;

use super::{Operator, Stage};
use crate::live::LiveError;

impl Stage {
    /// Starts an operator with these flags and variables alone.
    pub fn installed_operator(
        &self,
        name: &str,
        arguments: &[String],
        variables: &BTreeMap<String, String>,
    ) -> Result<Operator, LiveError> {
        let log = self.folder.path().join(format!("{name}.log"));
        let started = Operator::start_with(&self.program, arguments, variables, &log);
        started.map_err(LiveError::io("start the operator"))
    }

    /// The flags that lead an operator to the pretend sidecars.
    pub fn sidecar_arguments(&self) -> [String; 2] {
        let url = format!("http://{}/{{namespace}}/{{name}}", self.sidecars.address());
        let token = self.folder.path().join("token");
        [format!("--sidecar-url-template={url}"), format!("--sidecar-token-file={}", token.display())]
    }
}
