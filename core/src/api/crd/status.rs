//! Schema of `status`.

use super::schema::Schema;

/// What the operator records.
pub(super) fn schema() -> Schema {
    Schema::object(
        "The state of the node as the operator last recorded it.",
        [
            ("phase", phase("The phase of the node; absent until its first plan.")),
            ("phaseTransitionTime", Schema::time("The time when the phase was last set.")),
            ("plan", plan()),
            (
                "conditions",
                Schema::list("The conditions of the node, one per type.", condition()).keyed_by("type"),
            ),
            ("currentImage", Schema::text("The image of the node software that the pod was last seen with.")),
            (
                "currentSidecarImage",
                Schema::text("The image of the sidecar that the pod was last seen with."),
            ),
            ("resolvedPeers", Schema::lines("The peers found for spec.peers, sorted, without duplicates.")),
            (
                "resolvedStateSyncers",
                Schema::lines("The light-client witnesses in use, sorted, without duplicates."),
            ),
            (
                "resolvedRPCWitnesses",
                Schema::lines("The former witnesses; deprecated and no longer written."),
            ),
            ("statefulSet", stateful_set()),
            ("endpoint", endpoint()),
            ("adoptedWorkflow", adopted_workflow()),
        ],
    )
}

fn phase(description: &str) -> Schema {
    Schema::text(description).one_of(["Pending", "Initializing", "Running", "Failed", "Terminating"])
}

fn plan() -> Schema {
    Schema::object(
        "The plan that is under way, or the last one that failed; absent in steady state.",
        [
            ("id", Schema::text("The id of the plan; task ids derive from it.")),
            ("phase", Schema::text("The phase of the plan.").one_of(["Active", "Complete", "Failed"])),
            ("tasks", Schema::list("The tasks of the plan, in order.", task())),
            ("targetPhase", phase("The phase that the node gets when the plan completes; none if absent.")),
            ("failedPhase", phase("The phase that the node gets when the plan fails; none if absent.")),
            ("failedTaskIndex", Schema::integer("The index of the task that failed, on a failed plan.")),
            ("failedTaskDetail", failed_task()),
        ],
    )
    .required(["phase", "tasks"])
}

fn task() -> Schema {
    Schema::object(
        "One task of the plan.",
        [
            ("type", Schema::text("The type of the task.")),
            ("id", Schema::text("The id of the task, the same across restarts and retries.")),
            (
                "status",
                Schema::text(
                    "The status of the task; a task that was handed over stays Pending until it ends.",
                )
                .one_of(["Pending", "Running", "Complete", "Failed"]),
            ),
            (
                "params",
                Schema::anything("The parameters of the task, frozen when the plan was made; any JSON."),
            ),
            ("submittedAt", Schema::time("The time when the task's turn came.")),
            ("error", Schema::text("The reason why the task failed.")),
            ("maxRetries", Schema::integer("The number of retries that the task has; none if absent.")),
            ("retryCount", Schema::integer("The number of retries that the task has used.")),
        ],
    )
    .required(["id", "status", "type"])
}

fn failed_task() -> Schema {
    Schema::object(
        "The task that failed the plan.",
        [
            ("type", Schema::text("The type of the task.")),
            ("id", Schema::text("The id of the task.")),
            ("error", Schema::text("The reason why the task failed.")),
            ("retryCount", Schema::integer("The number of retries that were used.")),
            ("maxRetries", Schema::integer("The number of retries that there were.")),
        ],
    )
    .required(["error", "id", "maxRetries", "retryCount", "type"])
}

fn condition() -> Schema {
    Schema::object(
        "One condition of the node.",
        [
            ("type", Schema::text("The type of the condition.").max_length(316).pattern(CONDITION_TYPE)),
            (
                "status",
                Schema::text("The answer: it holds, it does not, or nobody can tell.").one_of(ANSWERS),
            ),
            (
                "observedGeneration",
                Schema::int64("The generation of the spec that the answer is about.").at_least(0),
            ),
            ("lastTransitionTime", Schema::time("The time when the answer last changed.")),
            (
                "reason",
                Schema::text("The reason for the answer, one word of a fixed set.")
                    .min_length(1)
                    .max_length(1024)
                    .pattern(REASON),
            ),
            ("message", Schema::text("The details, for people.").max_length(32768)),
        ],
    )
    .required(["lastTransitionTime", "message", "reason", "status", "type"])
}

fn stateful_set() -> Schema {
    Schema::object(
        "The StatefulSet that runs the node.",
        [
            ("name", Schema::text("The name of the StatefulSet.")),
            ("uid", Schema::text("The uid of the StatefulSet, which a replacement would not have.")),
        ],
    )
    .required(["name", "uid"])
}

fn endpoint() -> Schema {
    Schema::object(
        "The addresses at which clients inside the cluster reach a running full node or archive.",
        [
            ("evmJsonRpc", Schema::text("The URL of the EVM JSON-RPC over HTTP.")),
            ("evmWs", Schema::text("The URL of the EVM JSON-RPC over WebSocket.")),
            ("tendermintRpc", Schema::text("The URL of the Tendermint RPC.")),
            ("tendermintRest", Schema::text("The URL of the Cosmos REST interface.")),
        ],
    )
}

fn adopted_workflow() -> Schema {
    Schema::object(
        "The workflow that has the node to itself; while it is set, no plan is made.",
        [
            ("name", Schema::text("The name of the workflow.")),
            ("uid", Schema::text("The uid of the workflow.")),
            ("adoptedAt", Schema::time("The time since which the workflow has the node.")),
        ],
    )
    .required(["adoptedAt", "name", "uid"])
}

/// The three answers of a condition.
const ANSWERS: [&str; 3] = ["True", "False", "Unknown"];
/// A qualified name, as of any condition in Kubernetes.
const CONDITION_TYPE: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                              (([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
/// One word, as of any condition in Kubernetes.
const REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
