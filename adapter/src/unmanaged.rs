//! Objects that the Go operator handles and this one does not: where there are any, it is said once.

use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tracing::{error, warn};

use crate::perform::limited;
use crate::telemetry::Metrics;

/// Kinds of the Go operator that have no controller here.
const UNMANAGED: [(&str, &str); 3] = [
    ("SeiNetwork", "seinetworks"),
    ("SeiNodeTask", "seinodetasks"),
    ("SeiNodeTaskWorkflow", "seinodetaskworkflows"),
];

/// Says so where objects exist that nobody handles any more.
pub(crate) async fn report(client: &Client, metrics: &Metrics) {
    for (kind, plural) in UNMANAGED {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("sei.io", "v1alpha1", kind), plural);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
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
