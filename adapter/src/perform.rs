//! One function per operation, and failures sorted into [`Fault`], once.

use std::fmt::Debug;
use std::future::Future;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Api, Resource};
use seinode_core::api::{FIELD_MANAGER, SeiNode};
use seinode_core::effect::{
    Base, Effect, Fault, Field, Kind, Manifest, ObjectRef, Op, Outcome, WorkflowChange, WorkflowWrite,
};
use seinode_core::ident::{NodeKey, ResourceVersion, Uid};
use serde_json::{Value, json};
use tracing::warn;

use crate::cache::{Cache, Child, Kept};
use crate::live::{API_LIMIT, Live};
use crate::observe;

/// Carries effects out in order, stopping at the first that goes wrong: what follows may depend on it.
pub(crate) async fn perform(live: &Live, node: &SeiNode, effects: Vec<Effect>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(effects.len());
    for effect in effects {
        let result = one(live, node, &effect.op).await;
        let failed = result.is_err();
        if let Err(fault) = &result {
            warn!(effect = %effect.id, verb = effect.op.verb(), ?fault, "an effect went wrong");
        }
        live.metrics.effect(effect.op.verb(), result.as_ref().err());
        let outcome = Outcome { effect: effect.id.clone(), result };
        if let Some(audience) = &live.audience {
            audience.performed(node, &effect, &outcome);
        }
        outcomes.push(outcome);
        if failed {
            break;
        }
    }
    outcomes
}

async fn one(live: &Live, node: &SeiNode, op: &Op) -> Result<(), Fault> {
    if !live.mandate.is_held() {
        return Err(Fault::Transient("this operator does not lead any more".to_owned()));
    }
    match op {
        Op::Announce(notice) => {
            live.announcer.announce(node, notice).await;
            Ok(())
        }
        Op::Apply { manifest, base } => match manifest.as_ref() {
            Manifest::StatefulSet(_) => apply(live, &live.caches.statefulsets, manifest, base).await,
            Manifest::Service(_) => apply(live, &live.caches.services, manifest, base).await,
            Manifest::DataPvc(_) => apply(live, &live.caches.claims, manifest, base).await,
            Manifest::ConfigMap(_) => apply(live, &live.caches.config_maps, manifest, base).await,
            Manifest::Job(_) => apply(live, &live.caches.jobs, manifest, base).await,
        },
        Op::Patch { target, field, uid, version } => scale(live, target, field, uid, version).await,
        Op::Delete { target, uid, version } => delete(live, target, uid, version.as_ref()).await,
        Op::Finalizer { finalizers, version } => finalizer(live, node, finalizers, version).await,
        Op::Workflow(write) => workflow(live, write).await,
        Op::Submit(submit) => live.sidecars.submit(&NodeKey::of(node), submit).await,
        Op::Withdraw(id) => live.sidecars.withdraw(&NodeKey::of(node), id).await,
    }
}

/// Server-side apply, forced: force settles who owns a field, the guard in the body settles staleness.
async fn apply<K: Child>(
    live: &Live,
    cache: &Cache<K>,
    manifest: &Manifest,
    base: &Base,
) -> Result<(), Fault> {
    let ObjectRef { namespace, name, .. } = manifest.target();
    let mut body = manifest.to_json();
    let guard = match base {
        // No stored object has this version: refused where one exists, a create where none does.
        Base::Absent => json!({"resourceVersion": "1"}),
        Base::At { uid, version } => json!({"uid": uid, "resourceVersion": version}),
    };
    if let (Some(Value::Object(meta)), Value::Object(guard)) = (body.get_mut("metadata"), guard) {
        meta.extend(guard);
    }
    let api: Api<K> = Api::namespaced(live.client.clone(), &namespace);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let answer = limited(async { api.patch(&name, &params, &Patch::Apply(&body)).await }).await;
    learn(cache, &namespace, &name, answer)
}

/// One field of a StatefulSet or Job, guarded by uid and version.
async fn scale(
    live: &Live,
    target: &ObjectRef,
    field: &Field,
    uid: &Uid,
    version: &ResourceVersion,
) -> Result<(), Fault> {
    let stop = target.kind == Kind::Job;
    let (spec, annotations) = match field {
        Field::Replicas(replicas) => (json!({"replicas": replicas}), None),
        Field::Suspend(suspend) => (json!({"suspend": suspend}), None),
        Field::Paused { generation } => {
            let spec = if stop { json!({"suspend": true}) } else { json!({"replicas": 0}) };
            (spec, Some(json!({seinode_core::PAUSED_GENERATION: generation.to_string()})))
        }
    };
    let mut meta = json!({"uid": uid, "resourceVersion": version});
    if let (Value::Object(meta), Some(annotations)) = (&mut meta, annotations) {
        meta.insert("annotations".into(), annotations);
    }
    let body = json!({"metadata": meta, "spec": spec});
    match target.kind {
        Kind::Job => merge(live, &live.caches.jobs, target, &body).await,
        Kind::StatefulSet => merge(live, &live.caches.statefulsets, target, &body).await,
        Kind::ConfigMap | Kind::PersistentVolumeClaim | Kind::Pod | Kind::Service => {
            Err(Fault::Terminal(format!("{:?} can't be scaled", target.kind)))
        }
    }
}

async fn merge<K: Child>(
    live: &Live,
    cache: &Cache<K>,
    target: &ObjectRef,
    body: &Value,
) -> Result<(), Fault> {
    let api: Api<K> = Api::namespaced(live.client.clone(), &target.namespace);
    let answer = limited(async { api.patch(&target.name, &merging(), &Patch::Merge(body)).await }).await;
    learn(cache, &target.namespace, &target.name, answer)
}

async fn delete(
    live: &Live,
    target: &ObjectRef,
    uid: &Uid,
    version: Option<&ResourceVersion>,
) -> Result<(), Fault> {
    match target.kind {
        Kind::ConfigMap => remove(live, &live.caches.config_maps, target, uid, version).await,
        Kind::Job => remove(live, &live.caches.jobs, target, uid, version).await,
        Kind::PersistentVolumeClaim => remove(live, &live.caches.claims, target, uid, version).await,
        Kind::Service => remove(live, &live.caches.services, target, uid, version).await,
        Kind::StatefulSet => remove(live, &live.caches.statefulsets, target, uid, version).await,
        Kind::Pod => {
            let api: Api<k8s_openapi::api::core::v1::Pod> =
                Api::namespaced(live.client.clone(), &target.namespace);
            let params = preconditions(uid, version);
            gone_is_fine(limited(async { api.delete(&target.name, &params).await }).await.map(|_| ()))
        }
    }
}

fn preconditions(uid: &Uid, version: Option<&ResourceVersion>) -> DeleteParams {
    DeleteParams::background().preconditions(Preconditions {
        uid: Some(uid.to_string()),
        resource_version: version.map(ToString::to_string),
    })
}

async fn remove<K: Child>(
    live: &Live,
    cache: &Cache<K>,
    target: &ObjectRef,
    uid: &Uid,
    version: Option<&ResourceVersion>,
) -> Result<(), Fault> {
    let api: Api<K> = Api::namespaced(live.client.clone(), &target.namespace);
    let params = preconditions(uid, version);
    let answer = limited(async { api.delete(&target.name, &params).await }).await.map(|_| ());
    // Deleted, or being deleted: what is left of it is read live next time.
    cache.doubt(&target.namespace, &target.name);
    gone_is_fine(answer)
}

fn gone_is_fine(answer: Result<(), kube::Error>) -> Result<(), Fault> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map_err(|error| fault(&error)),
    }
}

async fn finalizer(
    live: &Live,
    node: &SeiNode,
    finalizers: &[String],
    version: &ResourceVersion,
) -> Result<(), Fault> {
    let body = json!({"metadata": {"uid": node.uid(), "resourceVersion": version, "finalizers": finalizers}});
    let api: Api<SeiNode> = Api::namespaced(live.client.clone(), node.namespace());
    let answer = limited(async { api.patch(node.name(), &merging(), &Patch::Merge(&body)).await }).await;
    if let Ok(answered) = &answer
        && answered.is_deleting()
        && answered.metadata.finalizers.iter().flatten().next().is_none()
    {
        live.caches.nodes.forget(node.namespace(), node.name());
        return Ok(());
    }
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            live.caches.nodes.forget(node.namespace(), node.name());
            Ok(())
        }
        other => learn(&live.caches.nodes, node.namespace(), node.name(), other),
    }
}

/// A write to a workflow; the next look at it is live, so there is nothing to remember.
async fn workflow(live: &Live, write: &WorkflowWrite) -> Result<(), Fault> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(live.client.clone(), &write.namespace, &observe::workflows::resource());
    let body = Patch::Merge(write.body());
    let answer = limited(async {
        match write.change {
            WorkflowChange::Status(_) => api.patch_status(&write.name, &merging(), &body).await,
            WorkflowChange::Finalizers(_) => api.patch(&write.name, &merging(), &body).await,
        }
    });
    answer.await.map(|_| ()).map_err(|error| fault(&error))
}

/// How a merge patch is sent: under our name, so that managedFields tell who it was.
pub(crate) fn merging() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// Remembers what the answer tells, and sorts what went wrong.
fn learn<K, S>(
    cache: &Cache<K, S>,
    namespace: &str,
    name: &str,
    answer: Result<K, kube::Error>,
) -> Result<(), Fault>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
    S: Kept<K>,
{
    match answer {
        Ok(object) => {
            cache.learn(object);
            Ok(())
        }
        Err(error) => {
            // Refused or not: what is known of the object may be old.
            cache.doubt(namespace, name);
            Err(fault(&error))
        }
    }
}

/// A request with a time limit.
pub(crate) async fn limited<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(API_LIMIT, request).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service("no answer in time".into())),
    }
}

/// Sorts a failure, once and for all.
pub(crate) fn fault(error: &kube::Error) -> Fault {
    match error {
        kube::Error::Api(status) => {
            let text = format!("{} ({})", status.message, status.code);
            match status.code {
                409 => Fault::Conflict(text),
                429 => Fault::Transient(text),
                // The server may have carried the request out before it failed.
                500.. => Fault::Ambiguous(text),
                401 | 403 | 404 => Fault::Transient(text),
                _ => Fault::Terminal(text),
            }
        }
        other => Fault::Ambiguous(format!("no usable answer of the API server: {other}")),
    }
}
