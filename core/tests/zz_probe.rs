#![cfg(feature = "testkit")]
use seinode_core::testkit::toy::Toy;
use seinode_core::testkit::*;
use std::time::Duration;
fn run(word: &str, mut toy: Toy) {
    let (w, p, t0) = (toy.writes, toy.performed.len(), toy.now);
    let n = toy.live(600);
    let secs = toy.now.duration_since(t0).as_secs();
    eprintln!(
        "{word}: rested {n:?} after {secs}s, writes {}, effects {}, broken {:?}, phase {:?}, cond {:?}",
        toy.writes - w,
        toy.performed.len() - p,
        toy.broken.iter().take(2).collect::<Vec<_>>(),
        toy.node.status.phase,
        toy.ending()
            .conditions
            .iter()
            .map(|(k, v)| format!("{k}={}/{}", v.0, v.1))
            .collect::<Vec<_>>()
            .join(" ")
    );
}
#[test]
fn probe() {
    let mut a = Toy::of(node::full());
    a.rewritten_image = Some("mirror/seid".into());
    run("rewritten from birth", a);
    let mut b = Toy::of(node::full());
    b.contested = Some("theirs".into());
    run("contested from birth", b);
    let mut c = Toy::of(node::full());
    c.live(400);
    c.contested = Some("theirs".into());
    c.node.spec.image = "registry.example.net/seid:v7".into();
    c.node.metadata.generation = Some(2);
    run("contested at update", c);
    let mut d = Toy::of(node::full());
    d.live(400);
    d.statefulset = None;
    run("statefulset deleted by hand", d);
    let mut e = Toy::of(node::full());
    e.live(400);
    e.service = None;
    e.config_map = None;
    run("service+config deleted by hand", e);
    let mut f = Toy::of(node::full());
    f.live(400);
    f.sidecar.failures = [(seinode_core::api::TaskType::ConfigPatch, i64::MAX)].into();
    f.node.spec.image = "registry.example.net/seid:v7".into();
    f.node.metadata.generation = Some(2);
    run("update whose config-patch always fails", f);
    let mut g = Toy::of(node::full());
    g.live(400);
    g.node.spec.overrides = Some([("a.b".to_owned(), "1".to_owned())].into());
    g.node.metadata.generation = Some(2);
    run("overrides edited on Running", g);
    let _ = Duration::ZERO;
}
