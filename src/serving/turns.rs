//! What waits for its turn: images of one version are taken together, versions of a model in turn, and models in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use super::work::Work;

/// What waits for one version, the longest waiting first. There is always something.
pub(super) type Turn<T> = VecDeque<Work<T>>;

/// Where a turn is.
#[derive(Clone, Copy)]
pub(super) struct At {
    model: usize,
    version: usize,
}

/// For each model that has something waiting, in the order of their turns, its versions in the order of theirs.
pub(super) struct Turns<T>(VecDeque<VecDeque<Turn<T>>>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Turns<T> {
    pub(super) fn push(&mut self, work: Work<T>) {
        let is_of = |versions: &VecDeque<Turn<T>>| {
            let first = versions.front().and_then(VecDeque::front);
            first.is_some_and(|first| first.servable.model() == work.servable.model())
        };
        let Some(model) = self.0.iter().position(is_of) else {
            let version = VecDeque::from([work]);
            self.0.push_back(VecDeque::from([version]));
            return;
        };
        let versions = &mut self.0[model];
        let is_of = |turn: &Turn<T>| {
            let first = turn.front();
            first.is_some_and(|first| Arc::ptr_eq(&first.servable, &work.servable))
        };
        match versions.iter().position(is_of) {
            Some(version) => versions[version].push_back(work),
            None => versions.push_back(VecDeque::from([work])),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first turn of which this is true.
    pub(super) fn find(&self, is_it: impl Fn(&Turn<T>) -> bool) -> Option<At> {
        let mut models = self.0.iter().enumerate();
        models.find_map(|(model, versions)| {
            let version = versions.iter().position(&is_it)?;
            Some(At { model, version })
        })
    }

    /// What has waited longest for each version.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &Work<T>> {
        self.0.iter().flatten().filter_map(VecDeque::front)
    }

    /// Takes as many of a turn's images as `most` says of their number, and moves it and its model to the end of their lines.
    /// What nobody waits for any more is dropped on the way.
    pub(super) fn take(&mut self, at: At, most: impl Fn(usize) -> usize) -> Vec<Work<T>> {
        let mut taken = Vec::new();
        let Some(mut versions) = self.0.remove(at.model) else {
            return taken;
        };
        if let Some(mut turn) = versions.remove(at.version) {
            let most = most(turn.len());
            taken.reserve(most);
            while taken.len() < most
                && let Some(work) = turn.pop_front()
            {
                if !work.is_abandoned() {
                    taken.push(work);
                }
            }
            if !turn.is_empty() {
                versions.push_back(turn);
            }
        }
        if !versions.is_empty() {
            self.0.push_back(versions);
        }
        taken
    }

    /// Drops what nobody waits for any more.
    pub(super) fn sweep(&mut self) {
        for versions in &mut self.0 {
            for turn in &mut *versions {
                turn.retain(|work| !work.is_abandoned());
            }
            versions.retain(|turn| !turn.is_empty());
        }
        self.0.retain(|versions| !versions.is_empty());
    }
}
