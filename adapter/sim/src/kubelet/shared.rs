//! What the handle and the running agent share.
//!
//! Answers: directors, volumes and the chronicle by name.
//! Refuses to know: the API server.
//! Upholds: a claim with a new volume has new, empty contents.

use super::cache::Name;
use super::chronicle::Chronicle;
use super::options::{Conduct, JobEnding, Options};
use crate::sidecar::{Director, Script, Switchboard, Volume, scale};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) switchboard: Switchboard,
    script: Script,
    chronicle: Mutex<Chronicle>,
    conduct: Mutex<Conduct>,
    scale: f64,
    directors: Mutex<BTreeMap<Name, Director>>,
    /// By claim, with the uid of the volume that the contents belong to.
    volumes: Mutex<BTreeMap<Name, (String, Volume)>>,
}

impl Shared {
    pub(super) fn new(options: &Options) -> Self {
        let mut script = options.script.clone();
        script.scale *= options.timing.scale;
        Self {
            switchboard: Switchboard::default(),
            script,
            chronicle: Mutex::default(),
            conduct: Mutex::new(options.conduct.clone()),
            scale: options.timing.scale,
            directors: Mutex::default(),
            volumes: Mutex::default(),
        }
    }

    pub(super) fn chronicle<R>(&self, act: impl FnOnce(&mut Chronicle) -> R) -> R {
        act(&mut lock(&self.chronicle))
    }

    pub(super) fn conduct<R>(&self, act: impl FnOnce(&mut Conduct) -> R) -> R {
        act(&mut lock(&self.conduct))
    }

    /// How a Job ends that the conduct names, in scaled time.
    pub(super) fn ending(&self, job: &str) -> Option<JobEnding> {
        let ending = self.conduct(|conduct| conduct.jobs.get(job).copied())?;
        Some(JobEnding { after: ending.after.map(|after| scale(after, self.scale)), ..ending })
    }

    /// Whether an image can't be pulled.
    pub(super) fn is_missing(&self, image: &str) -> bool {
        self.conduct(|conduct| conduct.missing_images.contains(image))
    }

    pub(super) fn director(&self, node: &Name) -> Director {
        lock(&self.directors)
            .entry(node.clone())
            .or_insert_with(|| Director::new(self.script.clone()))
            .clone()
    }

    pub(super) fn volume(&self, claim: &Name) -> Option<Volume> {
        lock(&self.volumes).get(claim).map(|(_, volume)| volume.clone())
    }

    /// The contents of a claim that is bound to this volume.
    pub(super) fn contents(&self, claim: &Name, uid: &str) -> Volume {
        let mut volumes = lock(&self.volumes);
        match volumes.get(claim) {
            Some((known, volume)) if known == uid => volume.clone(),
            _ => {
                let volume = Volume::new(&format!("{}/{}/{uid}", claim.namespace, claim.name));
                volumes.insert(claim.clone(), (uid.to_owned(), volume.clone()));
                volume
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
