//! Peers (14), row by row: who is one, by which address, and that nobody's coming or going wakes a node.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]
#![allow(clippy::type_complexity, reason = "a table of rows, read top down")]

use seinode_core::api::ConditionType;
use seinode_core::testkit::{Scene, digest, node, story};
use seinode_core::world::{Blind, PeerNode, Seen, Topic};
use seinode_core::{Decision, Ec2Instance};
use serde_json::{Value, json};

fn peer(name: &str) -> PeerNode {
    PeerNode {
        namespace: "lab".into(),
        name: name.into(),
        chain_id: "atlantic-2".into(),
        labels: [("app".to_owned(), "x".to_owned()), ("tier".to_owned(), "a".to_owned())].into(),
        external_address: None,
        deleting: false,
        node_id: Seen::Present(format!("id-{name}")),
    }
}

fn with(mut peer: PeerNode, change: fn(&mut PeerNode)) -> PeerNode {
    change(&mut peer);
    peer
}

/// A fresh node with these sources, these nodes around it, and what was resolved before.
fn scene(sources: &Value, around: Seen<Vec<PeerNode>>, prior: &[&str]) -> Scene {
    let mut node = node::with_spec(&json!({"fullNode": {}, "peers": sources}));
    node.status.resolved_peers = prior.iter().map(ToString::to_string).collect();
    let mut scene = story::fresh(node);
    scene.observed.peers = around;
    scene
}

fn resolved(scene: &Scene) -> Vec<String> {
    let mut scene = scene.clone();
    let Some(Decision::Commit(commit)) = scene.settle() else {
        panic!("a first plan: {}", digest::of(&scene))
    };
    commit.write().status.resolved_peers.clone()
}

#[test]
fn each_row_of_the_sources() {
    let label = || json!([{"label": {"selector": {"app": "x"}}}]);
    let at = |name: &str| format!("id-{name}@{name}-0.{name}.lab.svc.cluster.local:26656");
    let rows: Vec<(&str, Value, Vec<PeerNode>, &[&str], Vec<String>)> = vec![
        ("none", json!([]), vec![peer("b")], &[], vec![]),
        (
            "static: verbatim, sorted, each once",
            json!([{"static": {"addresses": ["z@h:1", "no-id:5", "a@h:1", "z@h:1"]}}]),
            vec![],
            &[],
            vec!["a@h:1".into(), "no-id:5".into(), "z@h:1".into()],
        ),
        (
            "label: by its name in the cluster",
            label(),
            vec![peer("c"), peer("b")],
            &[],
            vec![at("b"), at("c")],
        ),
        ("label: never itself", label(), vec![peer("alice"), peer("b")], &[], vec![at("b")]),
        (
            "label: the same name elsewhere is another node",
            json!([{"label": {"selector": {"app": "x"}, "namespace": "far"}}]),
            vec![peer("b"), with(peer("alice"), |p| p.namespace = "far".into())],
            &[],
            vec!["id-alice@alice-0.alice.far.svc.cluster.local:26656".into()],
        ),
        (
            "label: an empty namespace is its own",
            json!([{"label": {"selector": {"app": "x"}, "namespace": ""}}]),
            vec![peer("b"), with(peer("c"), |p| p.namespace = "far".into())],
            &[],
            vec![at("b")],
        ),
        (
            "label: every pair of the selector",
            json!([{"label": {"selector": {"app": "x", "tier": "b"}}}]),
            vec![peer("b")],
            &[],
            vec![],
        ),
        (
            "label: its published address",
            label(),
            vec![with(peer("b"), |p| p.external_address = Some("b.example.net:1".into()))],
            &[],
            vec!["id-b@b.example.net:1".into()],
        ),
        (
            "label: an empty published address is none",
            label(),
            vec![with(peer("b"), |p| p.external_address = Some(String::new()))],
            &[],
            vec![at("b")],
        ),
        (
            "label: without an id it is left out",
            label(),
            vec![with(peer("b"), |p| p.node_id = Seen::Unknown(Blind::NotAsked))],
            &["id-c@c-0.c.lab.svc.cluster.local:26656"],
            vec![],
        ),
        (
            "label: without an id, what was known of this address stays",
            label(),
            vec![with(peer("b"), |p| p.node_id = Seen::Unknown(Blind::Unreachable("x".into())))],
            &["old@b-0.b.lab.svc.cluster.local:26656"],
            vec!["old@b-0.b.lab.svc.cluster.local:26656".into()],
        ),
        (
            "S25: not of another chain, not one that goes",
            label(),
            vec![
                with(peer("b"), |p| p.chain_id = "pacific-1".into()),
                with(peer("c"), |p| p.deleting = true),
                peer("d"),
            ],
            &[],
            vec![at("d")],
        ),
        (
            "the sources are united",
            json!([{"label": {"selector": {"app": "x"}}}, {"static": {"addresses": ["a@h:1"]}}]),
            vec![peer("b")],
            &[],
            vec!["a@h:1".into(), at("b")],
        ),
        (
            "what was resolved and is no peer any more goes",
            label(),
            vec![peer("b")],
            &["x@h:1"],
            vec![at("b")],
        ),
    ];
    for (word, sources, around, prior, wanted) in rows {
        assert_eq!(resolved(&scene(&sources, Seen::Present(around), prior)), wanted, "{word}");
    }
}

#[test]
fn peers_by_label_are_looked_for_before_a_plan_and_what_can_not_be_told_stays() {
    let label = json!([{"label": {"selector": {"app": "x"}}}]);
    let mut unseen = scene(&label, Seen::Present(vec![peer("b")]), &[]);
    assert_eq!(digest::first(&unseen), "look Peers");
    unseen.observed.looked.insert(Topic::Peers);
    assert!(digest::first(&unseen).starts_with("commit Active"), "{}", digest::first(&unseen));
    let fixed = scene(&json!([{"static": {"addresses": ["a@h:1"]}}]), Seen::Absent, &[]);
    assert!(digest::first(&fixed).starts_with("commit Active"), "nobody is asked: {}", digest::first(&fixed));
    let dark = scene(&label, Seen::Unknown(Blind::Forbidden), &["a@h:1", "b@h:1"]);
    assert_eq!(resolved(&dark), ["a@h:1", "b@h:1"]);
}

#[test]
fn l04_a_change_of_peers_is_no_reason_for_a_plan_or_a_write() {
    let label = json!([{"label": {"selector": {"app": "x"}}}]);
    let node = node::with_spec(&json!({"fullNode": {}, "peers": label}));
    let mut scene = story::running(node);
    assert!(digest::of(&scene).starts_with("rest on change"), "{}", digest::of(&scene));
    scene.observed.peers = Seen::Present(vec![peer("b"), peer("c")]);
    assert!(digest::of(&scene).starts_with("rest on change"), "{}", digest::of(&scene));
    // An update that comes anyway brings them along.
    scene.node.spec.image = "another".into();
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("an update") };
    let status = &commit.write().status;
    assert_eq!(status.resolved_peers.len(), 2);
    let plan = status.plan.as_ref().expect("a plan");
    let patch = plan.tasks.iter().find(|t| t.task_type.as_str() == "config-patch").expect("the task");
    let sent = patch.params.pointer("/files/config.toml/p2p/persistent-peers");
    assert_eq!(sent, Some(&json!(status.resolved_peers.join(","))));
}

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

fn instance(host: &str) -> Ec2Instance {
    let hosts = [host.to_owned(), String::new(), String::new(), String::new()];
    Ec2Instance { tags: [("sei.io/node-id".to_owned(), ID.to_owned())].into(), hosts }
}

/// The node with one EC2 source, of an operator that asks EC2 and is answered so.
fn asking(answers: Vec<Seen<Vec<Ec2Instance>>>) -> Scene {
    let source = json!([{"ec2Tags": {"region": "eu-west-1", "tags": {"role": "rpc"}}}]);
    let mut scene = scene(&source, Seen::Present(Vec::new()), &["old@1.2.3.4:26656"]);
    scene.settings.asks_ec2 = true;
    scene.observed.ec2 = answers;
    scene
}

fn ec2(scene: &Scene) -> Option<(String, String)> {
    let condition = digest::condition(scene, &ConditionType::Ec2PeersResolved)?;
    Some((format!("{}/{}", condition.status, condition.reason), condition.message))
}

#[test]
fn s26_each_answer_of_ec2_and_what_is_shown_of_it() {
    let failed = || Seen::Unknown(Blind::Unreachable("EC2 answered UnauthorizedOperation".into()));
    let fresh = format!("{ID}@new.example.net:26656");
    let rows: Vec<(&str, Scene, &str, Vec<String>)> = vec![
        (
            "told",
            asking(vec![Seen::Present(vec![instance("new.example.net")])]),
            "True/Resolved",
            vec![fresh],
        ),
        ("told that there is none", asking(vec![Seen::Present(vec![])]), "True/Resolved", vec![]),
        ("failed", asking(vec![failed()]), "False/AskFailed", vec!["old@1.2.3.4:26656".into()]),
        ("no answer", asking(vec![]), "False/AskFailed", vec!["old@1.2.3.4:26656".into()]),
        (
            "a build that does not ask",
            {
                let mut scene = asking(vec![]);
                scene.settings.asks_ec2 = false;
                scene
            },
            "False/NotAsked",
            vec!["old@1.2.3.4:26656".into()],
        ),
    ];
    for (word, mut scene, condition, peers) in rows {
        if scene.settings.asks_ec2 {
            assert!(digest::first(&scene).contains("Peers"), "{word}: it is asked first");
        }
        assert_eq!(resolved(&scene), peers, "{word}");
        let _ = scene.settle();
        assert_eq!(ec2(&scene).expect("shown").0, condition, "{word}");
    }
    let (_, message) = ec2(&{
        let mut scene = asking(vec![failed()]);
        let _ = scene.settle();
        scene
    })
    .expect("shown");
    assert!(message.contains("eu-west-1") && message.contains("UnauthorizedOperation"), "{message}");
}

#[test]
fn s26_ec2_is_shown_on_nodes_that_name_it_and_costs_a_running_node_nothing() {
    assert_eq!(ec2(&story::running(node::full())), None, "not named");
    let mut scene = story::running(node::full());
    scene.node.spec.peers = asking(vec![]).node.spec.peers;
    scene.settings.asks_ec2 = true;
    let unseen = ec2(&scene).expect("shown");
    assert_eq!(unseen.0, "Unknown/NotResolved");
    scene.settings.asks_ec2 = false;
    assert_eq!(ec2(&scene).expect("shown").0, "False/NotAsked");
    // Once that is stored an idle node asks nobody and writes nothing.
    while scene.commit() {}
    assert!(digest::first(&scene).starts_with("rest"), "{}", digest::first(&scene));
    scene.node.spec.peers = None;
    assert_eq!(ec2(&scene).expect("it stays").0, "False/NotApplicable");
}

#[test]
fn s26_what_was_said_before_ec2_could_be_asked_does_not_stay() {
    let mut scene = story::running(node::full());
    let sources = asking(vec![]).node.spec.peers;
    let mut shown = |asks: bool, named: bool| {
        scene.settings.asks_ec2 = asks;
        scene.node.spec.peers = sources.clone().filter(|_| named);
        while scene.commit() {}
        ec2(&scene).expect("shown").0
    };
    let rows = [
        ("a build that does not ask", false, true, "False/NotAsked"),
        ("the next one asks", true, true, "Unknown/NotResolved"),
        ("the spec names none any more", true, false, "False/NotApplicable"),
        ("it names some again", true, true, "Unknown/NotResolved"),
    ];
    for (word, asks, named, wanted) in rows {
        assert_eq!(shown(asks, named), wanted, "{word}");
    }
}

#[test]
fn l01_s26_an_idle_node_asks_ec2_nothing() {
    let mut scene = story::running(node::full());
    scene.node.spec.peers = asking(vec![]).node.spec.peers;
    scene.node.metadata.generation = Some(2);
    scene.settings.asks_ec2 = true;
    scene.observed.ec2 = vec![Seen::Present(vec![instance("new.example.net")])];
    while scene.commit() {}
    assert_eq!(
        ec2(&scene).expect("shown").0,
        "True/Resolved",
        "asked once, to compare the config with the new spec"
    );
    assert!(digest::first(&scene).starts_with("rest"), "{}", digest::first(&scene));
    // Nor does what EC2 would tell now make a write.
    for now in [Seen::Present(vec![]), Seen::Unknown(Blind::Unreachable("no connection".into()))] {
        scene.observed.ec2 = vec![now];
        assert!(digest::first(&scene).starts_with("rest"), "{}", digest::first(&scene));
    }
}
