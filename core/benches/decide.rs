//! Time and allocations of one decision: of a node at rest, in the middle of a plan, and when a plan is built.
//!
//! `cargo bench -p seinode-core --features testkit`. What surrounds a node grows with the fleet; the last group shows whether a
//! decision does.

use divan::{AllocProfiler, Bencher, black_box};
use seinode_core::Decision;
use seinode_core::api::TaskType;
use seinode_core::rivals::{self, Mount, Neighbourhood};
use seinode_core::testkit::{Scene, node, story};
use seinode_core::world::Seen;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Ready for a decision that looks at nothing more.
fn settled(mut scene: Scene) -> Scene {
    let _ = scene.settle();
    scene
}

fn bench(bencher: Bencher<'_, '_>, scene: &Scene) {
    bencher.bench(|| black_box(scene).decide());
}

#[divan::bench]
fn idle(bencher: Bencher<'_, '_>) {
    let scene = story::running(node::full());
    assert!(matches!(scene.decide(), Decision::Rest(_)), "an idle node rests");
    bench(bencher, &scene);
}

#[divan::bench]
fn idle_validator(bencher: Bencher<'_, '_>) {
    bench(bencher, &settled(story::running(node::validator())));
}

#[divan::bench]
fn mid_plan(bencher: Bencher<'_, '_>) {
    bench(bencher, &settled(story::at_task(node::full_s3(), &TaskType::ConfigApply)));
}

#[divan::bench]
fn building_a_plan(bencher: Bencher<'_, '_>) {
    bench(bencher, &settled(story::fresh(node::full_s3())));
}

/// Other nodes of the namespace with keys of their own.
#[divan::bench(args = [0, 100, 1000])]
fn starting_among(bencher: Bencher<'_, '_>, others: usize) {
    let mut scene = story::fresh(node::validator());
    let mut around = Neighbourhood::default();
    for number in 0..others {
        let mut other = node::validator();
        other.metadata.name = Some(format!("other-{number}"));
        other.metadata.uid = Some(format!("uid-{number}"));
        let keys = [format!("key-{number}"), format!("id-{number}")];
        let validator = other.spec.validator.as_mut();
        if let Some(validator) = validator {
            validator.signing_key = None;
            validator.node_key = None;
        }
        let mut what = rivals::named(&format!("other-{number}"), &other.spec);
        what.extend(keys.map(rivals::Exclusive::Key));
        around.mounts.push(Mount {
            object: format!("StatefulSet other-{number}"),
            node: other.metadata.uid.clone(),
            template: true,
            what,
            live: true,
        });
        around.nodes.push(other);
    }
    scene.observed.neighbourhood = Seen::Present(around);
    bench(bencher, &settled(scene));
}
