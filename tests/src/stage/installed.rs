//! An operator that is started as a Deployment says: every flag and variable is given.

use std::collections::BTreeMap;

use super::{Operator, Stage, sidecar_arguments};
use crate::live::LiveError;

impl Stage {
    /// Starts an operator with these flags and variables alone.
    pub fn installed_operator(
        &self,
        name: &str,
        arguments: &[String],
        variables: &BTreeMap<String, String>,
    ) -> Result<Operator, LiveError> {
        self.started(name, arguments, variables)
    }

    /// The flags that lead an operator to the pretend sidecars.
    pub fn sidecar_arguments(&self) -> [String; 2] {
        sidecar_arguments(self.folder.path(), self.sidecars.address())
    }
}
