//! Peers from EC2 instances by tag, where the program was built with the feature `ec2`; else nobody is asked.

#[cfg(feature = "ec2")]
mod sdk;
#[cfg(all(test, feature = "ec2"))]
mod tests;

#[cfg(feature = "ec2")]
pub(crate) use sdk::Ec2;

/// Nobody to ask.
#[cfg(not(feature = "ec2"))]
#[derive(Default)]
pub(crate) struct Ec2 {}

#[cfg(not(feature = "ec2"))]
impl Ec2 {
    /// What EC2 tells of each source that names tags: nothing.
    #[allow(clippy::unused_async, reason = "with the feature ec2 it waits for answers")]
    pub(crate) async fn ask(
        &self,
        _node: &seinode_core::api::SeiNode,
    ) -> Vec<seinode_core::world::Seen<Vec<seinode_core::Ec2Instance>>> {
        Vec::new()
    }
}
