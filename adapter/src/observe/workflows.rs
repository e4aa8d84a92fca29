//! Workflows that are for a node: listed when one has it, or when it is deleted; never watched.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams};
use seinode_core::api::SeiNode;
use seinode_core::api::workflow::{self, Workflow};
use seinode_core::world::{Blind, Seen};

use super::asked;
use crate::live::Live;
use crate::unmanaged;

/// Where the API server has them.
pub(crate) fn resource() -> ApiResource {
    unmanaged::resource(workflow::KIND, workflow::PLURAL)
}

/// The workflows of the node's namespace that name it.
pub(super) async fn of(live: &Live, node: &SeiNode) -> Seen<Vec<Workflow>> {
    let api: Api<DynamicObject> = Api::namespaced_with(live.client.clone(), node.namespace(), &resource());
    let listed = asked(async move {
        match api.list(&ListParams::default()).await {
            // The kind is not installed.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            answer => answer.map(Some),
        }
    });
    let list = match listed.await {
        Ok(Some(list)) => list,
        Ok(None) => return Seen::Absent,
        Err(blind) => return Seen::Unknown(blind),
    };
    match list.items.into_iter().map(read).collect::<Result<Vec<_>, _>>() {
        Ok(all) => {
            let of_node = |w: &Workflow| w.spec.target.node_ref.name == node.name();
            Seen::Present(all.into_iter().filter(of_node).collect())
        }
        Err(error) => Seen::Unknown(Blind::Unreachable(format!("a stored workflow can't be read: {error}"))),
    }
}

fn read(object: DynamicObject) -> Result<Workflow, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(object)?)
}
