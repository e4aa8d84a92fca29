//! The laws over traces: what a run of an operator may and may not have done, whoever recorded it.
//!
//! Answers: which law a trace breaks, where, and how. Refuses to know: how the run was made (pretend cluster, model search,
//! real control plane). What can be told from one decision is judged in `testkit::law`, what can be told from one
//! status in `plan::lint`; here is what needs more than one of them.

mod effects;
mod writes;

use crate::api::SeiNode;
use crate::decision::StatusWrite;
use crate::effect::Effect;

/// What one operator did to one node, in order. Runs with two operators are merged by time.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step of a run.
#[derive(Clone, Debug)]
pub enum Step {
    /// The node was read; a decision follows.
    Read(Box<SeiNode>),
    /// A status write was stored; this is the object that was there before it, and the answer.
    Stored {
        /// What was there.
        before: Box<SeiNode>,
        /// The write.
        write: Box<StatusWrite>,
        /// What the server answered.
        answer: Box<SeiNode>,
    },
    /// A status write was refused.
    Refused(Box<StatusWrite>),
    /// An effect was carried out; `changed` tells whether the cluster was different after it.
    Performed {
        /// The effect.
        effect: Box<Effect>,
        /// Whether anything changed.
        changed: bool,
    },
    /// It rested, for these reasons.
    Rested(Vec<String>),
    /// Nothing is new from here on: no fault, no edit, no work of anybody else is left.
    Quiet,
}

/// One broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its number in `docs/architecture.md`.
    pub law: u8,
    /// The step that broke it.
    pub at: usize,
    /// How.
    pub text: String,
}

impl Broken {
    fn new(law: u8, at: usize, text: impl Into<String>) -> Self {
        Self { law, at, text: text.into() }
    }
}

/// Every law that a trace breaks.
pub fn broken(trace: &Trace) -> Vec<Broken> {
    let mut out = effects::l01_stored_before_done(trace);
    out.extend(effects::l02_keyed_and_guarded(trace));
    out.extend(writes::l03_l08_l11_each_step(trace));
    out.extend(writes::l04_one_guarded_write(trace));
    out.extend(writes::l05_silence(trace));
    out.extend(writes::l10_never_silent(trace));
    out.extend(effects::l13_nothing_is_done_twice(trace));
    out.sort_by_key(|b| (b.at, b.law));
    out
}

#[cfg(all(test, feature = "testkit"))]
#[allow(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use crate::Decision;
    use crate::effect::Op;
    use crate::ident::Uid;
    use crate::testkit::{law, node, scene, story};

    use super::*;

    /// A first pass: read, store, do.
    fn first_pass() -> Trace {
        let mut world = story::fresh(node::full());
        let read = world.node.clone();
        let Some(Decision::Commit(commit)) = world.settle() else { panic!("a fresh node gets a plan") };
        let write = commit.write().clone();
        let answer = scene::stored(&read, &write);
        world.store(&write);
        let next = world.settle().expect("a stored plan goes on");
        let effects = law::effects(next, &world.node);
        let mut steps = vec![
            Step::Read(Box::new(read.clone())),
            Step::Stored { before: Box::new(read), write: Box::new(write), answer: Box::new(answer) },
        ];
        steps.extend(
            effects.into_iter().map(|effect| Step::Performed { effect: Box::new(effect), changed: true }),
        );
        steps.push(Step::Rested(vec!["the claim was applied".to_owned()]));
        steps.push(Step::Quiet);
        steps.push(Step::Rested(vec!["the claim was applied".to_owned()]));
        Trace { steps }
    }

    fn laws(trace: &Trace) -> Vec<u8> {
        broken(trace).into_iter().map(|b| b.law).collect()
    }

    #[test]
    fn a_good_pass_breaks_none() {
        assert_eq!(broken(&first_pass()), Vec::new());
    }

    #[test]
    fn each_bad_pass_breaks_its_law() {
        let with = |change: &dyn Fn(&mut Trace)| {
            let mut trace = first_pass();
            change(&mut trace);
            laws(&trace)
        };
        assert_eq!(with(&|t| t.steps.swap(1, 2)), [1], "done before it was stored");
        assert_eq!(
            with(&|t| t.steps.push(t.steps[1].clone())),
            [4, 5],
            "stored on an old version, and when all was quiet"
        );
        assert_eq!(with(&|t| t.steps.push(Step::Rested(Vec::new()))), [10], "rests without a reason");
        let again = |between: Option<Step>| {
            let mut trace = first_pass();
            let made = trace.steps[2].clone();
            trace.steps.splice(3..3, between.into_iter().chain([made]));
            laws(&trace)
        };
        let Step::Performed { effect, .. } = &first_pass().steps[2] else { panic!("an effect") };
        let Op::Apply { manifest, .. } = &effect.op else { panic!("an apply") };
        let op = Op::Delete { target: manifest.target(), uid: Uid::new("u"), version: None };
        let delete = Box::new(Effect { op, ..(**effect).clone() });
        let delete = Step::Performed { effect: delete, changed: true };
        assert_eq!(again(None), [0; 0], "made anew after somebody else has removed it");
        assert_eq!(again(Some(delete.clone())), [13], "made and deleted and made");
        assert_eq!(with(&|t| t.steps.extend([delete.clone(), delete.clone()])), [5, 5, 13], "deleted twice");
        let unguarded = with(&|t| {
            for step in &mut t.steps {
                let Step::Stored { write, .. } = step else { continue };
                write.version = crate::ident::ResourceVersion::new("");
            }
        });
        assert_eq!(unguarded, [4]);
    }
}
