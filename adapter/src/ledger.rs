//! Guarded status writes. A conflict is told, an ambiguous answer is never taken for success.

use kube::Api;
use kube::api::Patch;
use seinode_core::api::SeiNode;
use seinode_core::decision::StatusWrite;
use seinode_core::effect::Fault;
use seinode_core::world::Seen;

use crate::error::PortError;
use crate::live::Live;
use crate::perform::{fault, limited, merging};
use crate::ports::Stored;

/// Stores a status.
pub(crate) async fn store(live: &Live, write: &StatusWrite) -> Result<Stored, PortError> {
    let key = &write.key;
    if !live.mandate.is_held() {
        return Err(PortError::NotLeading { what: "status write", node: key.clone() });
    }
    let api: Api<SeiNode> = Api::namespaced(live.client.clone(), &key.namespace);
    let body = write.body();
    let before = live.caches.nodes.seen(&key.namespace, &key.name);
    let answer = limited(async { api.patch_status(&key.name, &merging(), &Patch::Merge(&body)).await }).await;
    match answer {
        Ok(node) => {
            if let Seen::Present(before) = &before {
                live.metrics.stored(&before.status, &node, live.time());
            }
            let node = live.caches.nodes.learn(node);
            Ok(Stored::At(Box::new(SeiNode::clone(&node))))
        }
        Err(error) => {
            live.caches.nodes.doubt(&key.namespace, &key.name);
            match fault(&error) {
                Fault::Conflict(_) => {
                    live.metrics.conflict();
                    Ok(Stored::Conflict)
                }
                Fault::Ambiguous(text) => Ok(Stored::Ambiguous(text)),
                // The node is gone, or the write is refused: the next look tells which.
                Fault::Terminal(_) | Fault::Transient(_) => {
                    Err(PortError::Api { what: "status write", node: key.clone(), source: Box::new(error) })
                }
            }
        }
    }
}
