//! Answers: which components of one control plane run, and are they ready?
//!
//! Refuses to know what is in the cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use super::binaries::Binaries;
use super::error::{chain, log_tail};
use super::process::Process;
use super::site::Site;
use super::{Component, LiveError, wait_until};

/// The processes of one control plane and the place where they live.
#[derive(Debug)]
pub(super) struct Fleet {
    /// Dropped one after the other, in the order of [`Component`], and before the folder they write to.
    running: BTreeMap<Component, Process>,
    pub(super) binaries: Binaries,
    pub(super) site: Site,
}

impl Fleet {
    /// Starts all components. A port that somebody else took in between is not the end: others are chosen.
    pub(super) async fn start(binaries: Binaries) -> Result<Self, LiveError> {
        let mut attempt = 1;
        loop {
            match Self::start_once(binaries.clone()).await {
                Err(error) if error.is_taken_port() && attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn start_once(binaries: Binaries) -> Result<Self, LiveError> {
        let mut fleet = Self { running: BTreeMap::new(), binaries, site: Site::prepare()? };
        // The API server waits for etcd by itself. The controller manager gives up on an API server soon.
        fleet.launch(Component::Etcd).await?;
        fleet.launch(Component::ApiServer).await?;
        fleet.await_ready(Component::Etcd).await?;
        fleet.await_ready(Component::ApiServer).await?;
        fleet.resume(Component::ControllerManager).await?;
        // Had somebody else's etcd answered on our port, ours would have ended by now.
        fleet.running.values_mut().try_for_each(Process::check)?;
        Ok(fleet)
    }

    /// Starts the component if it does not run, and waits until it is ready, and the API server with it.
    pub(super) async fn resume(&mut self, component: Component) -> Result<(), LiveError> {
        if !self.running.contains_key(&component) {
            self.launch(component).await?;
        }
        self.await_ready(component).await?;
        if self.running.contains_key(&Component::ApiServer) {
            self.await_ready(Component::ApiServer).await?;
        }
        Ok(())
    }

    /// Ends the component if it runs.
    pub(super) async fn end(&mut self, component: Component, how: fn(Process)) -> Result<(), LiveError> {
        let Some(process) = self.running.remove(&component) else { return Ok(()) };
        // It may take seconds, in which the rest of a test wants to go on.
        let ended = tokio::task::spawn_blocking(move || how(process)).await;
        ended.map_err(|error| LiveError::Io { what: format!("end {component}"), source: error.into() })
    }

    pub(super) fn pids(&self) -> BTreeMap<Component, u32> {
        self.running.iter().map(|(component, process)| (*component, process.pid())).collect()
    }

    async fn launch(&mut self, component: Component) -> Result<(), LiveError> {
        let program = self.binaries.path(component.name());
        let arguments = self.site.arguments(component);
        let process = Process::spawn(component, &program, arguments, self.site.log(component)).await?;
        self.running.insert(component, process);
        Ok(())
    }

    async fn await_ready(&mut self, component: Component) -> Result<(), LiveError> {
        let Self { running, site, .. } = self;
        let mut process = running.get_mut(&component);
        let ready = wait_until("an answer that it is ready", READY_LIMIT, async || {
            match process.as_mut().map_or(Ok(()), |process| process.check()) {
                // A process that has ended will not get ready: the wait is over.
                Err(gone) => Ok(Err(gone)),
                Ok(()) => site.probe(component).await.map(Ok).map_err(|error| chain(&error)),
            }
        });
        ready.await.unwrap_or_else(|error| {
            Err(LiveError::NotReady {
                component,
                source: Box::new(error),
                log: log_tail(&site.log(component)),
            })
        })
    }
}

/// Two test binaries choose the same port once in thousands of starts; three times in a row is another fault.
const START_ATTEMPTS: usize = 3;

/// Some ten times what a small machine needs while it compiles something else.
const READY_LIMIT: Duration = Duration::from_mins(2);
