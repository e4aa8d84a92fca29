//! `render`: the child objects, the plan and the status that the operator makes of a node, as files, without a cluster.
//!
//! Objects are shown as they are once started (a StatefulSet with one replica unless the node is paused, a Job that is
//! not suspended), whether or not this pass gets as far as sending them.

mod shown;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::{SeiNode, mode};
use seinode_core::platform::Platform;
use seinode_core::render::{self, RenderError};
use serde_json::{Value, json};

use crate::manifest::{self, ManifestError};
use crate::plan::given::{self, Brought, GivenNode, GivenPlatform, InputError};
use crate::plan::pass::{self, PassError};
use crate::plan::surroundings::Surroundings;
use crate::plan::{refuse, say};
use crate::run::EXIT_CONFIG;
use shown::{plan, status, to_json, without_nulls};

/// Arguments of `render`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Files: statefulset.json, service.json, rbac-proxy-configmap.json, pvc.json (unless the node \
imports a claim), bootstrap-job.json and bootstrap-service.json (if it bootstraps), plan.json, status.json, and with \
--workflow also workflow-plan.json and workflow-status.json: this operator adopts no new workflow, so they show it as \
given.\n\nA refused input leaves error.txt: with `stage: platform` alone, if the operator would not start; with \
`stage: planner` beside the objects, if it would not plan. Files of an earlier run that do not apply any more are \
removed.\n\nThe world is that of `plan` without --world.\n\nExit codes: 0, or 2 if error.txt was written or an input \
can't be used at all."
)]
pub struct RenderArgs {
    /// The SeiNode, as written or as stored
    #[arg(long, value_name = "FILE")]
    pub node: PathBuf,
    /// The platform's settings
    #[arg(long, value_name = "FILE")]
    pub platform: PathBuf,
    /// A SeiNodeTaskWorkflow that targets the node
    #[arg(long, value_name = "FILE")]
    pub workflow: Option<PathBuf>,
    /// Folder for the files
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}

/// What a node and a platform file come to.
#[derive(Debug, Default)]
pub struct Rendered {
    /// JSON by file name.
    pub files: BTreeMap<&'static str, Value>,
    /// Why the input is refused, if it is.
    pub rejection: Option<Rejection>,
    /// Whether the manifest has no uid, so that owner references carry zeros.
    pub lacks_uid: bool,
}

/// Why an input is refused.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Who refuses it.
    pub stage: Stage,
    /// Why, and what to do.
    pub text: String,
}

impl Rejection {
    /// The text of `error.txt`.
    pub fn to_text(&self) -> String {
        format!("stage: {}\nerror: {}\n", self.stage.as_str(), self.text)
    }
}

/// Who refuses an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The operator does not start.
    Platform,
    /// The operator does not plan.
    Planner,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Planner => "planner",
        }
    }
}

/// Nothing could be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderingError {
    /// An input that can't be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The decision came to no end.
    #[error(transparent)]
    Pass(#[from] PassError),
}

/// Writes the files of a node into a folder.
pub fn render(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    let rendered = match rendered(&args.node, &args.platform, args.workflow.as_deref(), Timestamp::now()) {
        Ok(rendered) => rendered,
        Err(RenderingError::Input(error)) => return Ok(refuse(&error)),
        Err(error @ RenderingError::Pass(_)) => return Err(error.into()),
    };
    write(&rendered, &args.out)?;
    if rendered.lacks_uid {
        say("note", "owner references carry zeros: the manifest has no metadata.uid");
    }
    Ok(match &rendered.rejection {
        None => ExitCode::SUCCESS,
        Some(rejection) => {
            say("error", &rejection.text);
            ExitCode::from(EXIT_CONFIG)
        }
    })
}

fn write(rendered: &Rendered, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("can't make folder {}", folder.display()))?;
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &rendered.files {
        texts.insert(name, serde_json::to_string_pretty(value)? + "\n");
    }
    if let Some(rejection) = &rendered.rejection {
        texts.insert(ERROR, rejection.to_text());
    }
    for name in FILES {
        let path = folder.join(name);
        match texts.get(name) {
            Some(text) => {
                std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
            }
            None if path.exists() => {
                std::fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
            }
            None => {}
        }
    }
    Ok(())
}

const STATEFULSET: &str = "statefulset.json";
const SERVICE: &str = "service.json";
const CONFIG_MAP: &str = "rbac-proxy-configmap.json";
const CLAIM: &str = "pvc.json";
const BOOTSTRAP_JOB: &str = "bootstrap-job.json";
const BOOTSTRAP_SERVICE: &str = "bootstrap-service.json";
const PLAN: &str = "plan.json";
const STATUS: &str = "status.json";
const WORKFLOW_PLAN: &str = "workflow-plan.json";
const WORKFLOW_STATUS: &str = "workflow-status.json";
const ERROR: &str = "error.txt";

/// Every file that can be written.
const FILES: [&str; 11] = [
    STATEFULSET,
    SERVICE,
    CONFIG_MAP,
    CLAIM,
    BOOTSTRAP_JOB,
    BOOTSTRAP_SERVICE,
    PLAN,
    STATUS,
    WORKFLOW_PLAN,
    WORKFLOW_STATUS,
    ERROR,
];

/// What the operator makes of a node, a platform file and a workflow.
pub fn rendered(
    node: &Path,
    platform: &Path,
    workflow: Option<&Path>,
    now: Timestamp,
) -> Result<Rendered, RenderingError> {
    let GivenNode { node, zeroed } = given::node(node)?;
    let GivenPlatform { settings, file } = given::platform(platform)?;
    let workflow = workflow.map(read_workflow).transpose()?;
    let mut out = Rendered { lacks_uid: zeroed.contains(&given::UID), ..Rendered::default() };
    let platform = match settings {
        Ok(platform) => platform,
        Err(error) => {
            out.rejection = Some(Rejection { stage: Stage::Platform, text: error.to_string() });
            return Ok(out);
        }
    };
    let (objects, faults) = objects(&node, &platform);
    out.files = objects;
    let refusal = mode::validate(&node.spec).err().map(|error| error.to_string());
    if let Some(text) = refusal.or_else(|| faults.first().map(ToString::to_string)) {
        out.rejection = Some(Rejection { stage: Stage::Planner, text });
        return Ok(out);
    }
    let mut around = Surroundings::around(&node, &platform, &file, &Brought::default(), now)?;
    let outcome = pass::pass(&node, &platform, &mut around, now)?;
    out.files.insert(PLAN, plan(outcome.status.plan.as_ref().map(to_json).as_ref()));
    out.files.insert(STATUS, status(&node, &outcome));
    if let Some(workflow) = workflow {
        let part = |at: &str| workflow.pointer(at).cloned().unwrap_or(Value::Null);
        out.files.insert(WORKFLOW_PLAN, plan(workflow.pointer("/status/plan")));
        let shown = json!({
            "phase": part("/status/phase"), "conditions": part("/status/conditions"),
            "finalizers": part("/metadata/finalizers"),
        });
        out.files.insert(WORKFLOW_STATUS, without_nulls(shown));
    }
    Ok(out)
}

/// The child objects as started, and what kept any of them from being rendered.
fn objects(node: &SeiNode, platform: &Platform) -> (BTreeMap<&'static str, Value>, Vec<RenderError>) {
    let (mut files, mut faults) = (BTreeMap::new(), Vec::new());
    let mut put = |name, object: Result<Value, RenderError>| match object {
        Ok(object) => {
            files.insert(name, object);
        }
        Err(error) => faults.push(error),
    };
    let replicas = i32::from(node.spec.paused != Some(true));
    put(STATEFULSET, render::statefulset(node, platform, replicas).map(|o| to_json(&o)));
    put(SERVICE, Ok(to_json(&render::service(node))));
    put(CONFIG_MAP, Ok(to_json(&render::rbac_proxy_config(node))));
    if mode::imported_claim_name(&node.spec).is_none() {
        put(CLAIM, render::data_pvc(node, platform).map(|o| to_json(&o)));
    }
    if mode::needs_bootstrap(&node.spec) {
        put(BOOTSTRAP_JOB, render::bootstrap_job(node, platform, false).map(|o| to_json(&o)));
        put(BOOTSTRAP_SERVICE, Ok(to_json(&render::bootstrap_service(node))));
    }
    (files, faults)
}

fn read_workflow(path: &Path) -> Result<Value, InputError> {
    let refuse = |text: String| InputError::Manifest(ManifestError::Refused { path: path.to_owned(), text });
    let documents = manifest::documents(path)?;
    match documents.as_slice() {
        [one] if one.get("kind").and_then(Value::as_str) == Some("SeiNodeTaskWorkflow") => Ok(one.clone()),
        _ => Err(refuse(
            "kind: is not SeiNodeTaskWorkflow; put one SeiNodeTaskWorkflow into the file".to_owned(),
        )),
    }
}
