//! What a scenario does, in the order of its text: does anything wait for what its last input leads to?

use super::{Raw, Rule};

/// The calls of a scenario's function, as far as they matter.
#[derive(Debug, Default)]
pub(super) struct Story {
    inputs: Vec<Input>,
    /// How many inputs there were when something looked at the machine for the last time.
    seen: usize,
    /// Whether that was since the loop around this began.
    has_looked: bool,
    /// The step around what comes next, by its number; 0 is none.
    step: usize,
    steps: usize,
    /// Something goes on beside the text, so that its order says nothing.
    is_beside: bool,
}

#[derive(Debug)]
struct Input {
    start: usize,
    end: usize,
    step: usize,
    what: String,
}

impl Story {
    /// Keys, text or clicks.
    pub(super) fn input(&mut self, start: usize, end: usize, what: &str) {
        let what = what.to_owned();
        self.inputs.push(Input { start, end, step: self.step, what });
    }

    /// Something that waits, expects, or cannot be followed.
    pub(super) fn look(&mut self) {
        self.seen = self.inputs.len();
        self.has_looked = true;
    }

    /// Something that goes on, or looks later than its place in the text says.
    pub(super) fn beside(&mut self) {
        self.is_beside = true;
    }

    /// Begins a step and returns what [`Self::leave`] wants.
    pub(super) fn enter(&mut self) -> usize {
        self.steps += 1;
        std::mem::replace(&mut self.step, self.steps)
    }

    /// Ends a step.
    pub(super) fn leave(&mut self, around: usize) {
        self.step = around;
    }

    /// Begins a loop and returns what [`Self::end_loop`] wants.
    pub(super) fn begin_loop(&mut self) -> bool {
        std::mem::replace(&mut self.has_looked, false)
    }

    /// Ends a loop: what looked anywhere in it looks at its round before, too.
    pub(super) fn end_loop(&mut self, before: bool) {
        if self.has_looked {
            self.look();
        }
        self.has_looked |= before;
    }

    /// What nothing looks at: the last input of each step.
    pub(super) fn end(self) -> Vec<Raw> {
        if self.is_beside {
            return Vec::new();
        }
        let unseen = &self.inputs[self.seen..];
        let is_last = |at: usize| unseen.get(at + 1).is_none_or(|next| next.step != unseen[at].step);
        let last = unseen.iter().enumerate().filter(|(at, _)| is_last(*at)).map(|(_, input)| input);
        last.map(|input| Raw {
            rule: Rule::NoWaitAfterInput,
            start: input.start,
            end: input.end,
            message: format!(
                "nothing waits for what `{}` leads to: neither this step nor the rest of the scenario waits or expects \
                 anything",
                input.what
            ),
            hint: Some(format!(
                "wait for its effect, such as `t.serial:wait_for(\"…\")`; or say why not, in the line above: \
                 `-- backstaff: allow({}) REASON`",
                Rule::NoWaitAfterInput.name()
            )),
        })
        .collect()
    }
}
