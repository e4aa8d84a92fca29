//! Objects that the Go operator handles and this one does not: where there are any, it is said once.

use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use seinode_core::api::{GROUP, VERSION, workflow};
use tracing::{error, warn};

use crate::perform::limited;
use crate::telemetry::Metrics;

/// Kinds of the Go operator that have no controller here.
const UNMANAGED: [(&str, &str); 3] =
    [("SeiNetwork", "seinetworks"), ("SeiNodeTask", "seinodetasks"), (workflow::KIND, workflow::PLURAL)];

/// Where the API server has a kind of ours that this program has no type for.
pub(crate) fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
}

/// Says so where objects exist that nobody handles any more.
pub(crate) async fn report(client: &Client, metrics: &Metrics) {
    for (kind, plural) in UNMANAGED {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind, plural));
        let list = limited(async { api.list(&ListParams::default().limit(1)).await }).await;
        match list {
            Ok(list) if !list.items.is_empty() => {
                metrics.unmanaged(kind);
                error!(
                    kind,
                    "objects of this kind exist, and no controller handles them: this operator handles SeiNode only"
                );
            }
            Ok(_) => {}
            // The kind is not installed, or not ours to list: then there is nothing to say.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(error) => warn!(kind, %error, "could not look for objects that nobody handles"),
        }
    }
}
