//! What was found among runs that were only counted, told of each run by its number.

use super::world::{Doing, Held, Path, Run, Runs, Told};
use std::collections::BTreeMap;

/// A step that was taken by one of the runs in a state.
pub(super) struct Taken {
    pub(super) before: Run,
    pub(super) after: Run,
    pub(super) told: Option<Told>,
}

/// What is held where, and how often.
type Holding = BTreeMap<(Path, Held), u64>;

/// The same with each run for itself, and which of them was granted what.
pub(super) fn replay(first: &Runs, taken: &[Taken]) -> (Vec<Run>, Vec<(usize, Told)>) {
    let mut runs: Vec<Run> = first
        .iter()
        .flat_map(|(run, count)| std::iter::repeat_n(run, usize::try_from(*count).unwrap_or(usize::MAX)))
        .cloned()
        .collect();
    let mut story: Vec<(usize, Told)> = Vec::new();
    for Taken { before, after, told } in taken {
        let Some(place) = runs.iter().position(|run| run == before) else { continue };
        runs[place] = after.clone();
        story.extend(told.clone().map(|told| (place, told)));
    }
    let mut held: Vec<Holding> = runs.iter().map(held_of).collect();
    let mut lasting: Vec<(usize, Told)> = Vec::new();
    // What was granted last is what is held now.
    for (place, told) in story.into_iter().rev() {
        let mut is_held = |hold: &Held| {
            let left = held[place].get_mut(&(told.path.clone(), *hold)).filter(|left| **left > 0);
            left.is_some_and(|left| {
                *left -= 1;
                true
            })
        };
        let kept: Vec<Held> = told.held.iter().copied().filter(|hold| is_held(hold)).collect();
        if kept.len() == told.held.len() {
            lasting.push((place, told));
        }
    }
    lasting.reverse();
    (runs, lasting)
}

/// What is held in a run, by whom.
fn held_of(run: &Run) -> Holding {
    fn add(run: &Run, above: &[(usize, usize)], count: u64, held: &mut Holding) {
        for (place, doing) in run.acts.iter().enumerate() {
            let Doing::Active(active) = doing else { continue };
            let path: Path = above.iter().copied().chain([(run.flow, place)]).collect();
            for hold in &active.holds {
                *held.entry((path.clone(), *hold)).or_default() += count;
            }
            active.children.iter().for_each(|(child, children)| add(child, &path, count * children, held));
        }
    }
    let mut held = Holding::new();
    add(run, &[], 1, &mut held);
    held
}
