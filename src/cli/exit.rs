//! How the process ends. Never 0 with a failure, never a count.

use crate::runner::{Summary, Verdict};

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// All passed.
    pub const PASSED: Self = Self(0);
    /// A scenario failed.
    pub const FAILED: Self = Self(1);
    /// The command line is wrong.
    pub const USAGE: Self = Self(2);
    /// A script, profile or plan does not load.
    pub const NOT_LOADED: Self = Self(3);
    /// Nothing was selected.
    pub const NOTHING: Self = Self(4);
    /// A test was flaky, where flaky fails, and nothing else is wrong.
    pub const FLAKY: Self = Self(5);
    /// A lane failed (the machine, not the test) and nothing else.
    pub const LANE_FAILED: Self = Self(16);
    /// Our bug.
    pub const BUG: Self = Self(70);
    /// Everything was skipped.
    pub const SKIPPED: Self = Self(77);
    /// The run's deadline passed.
    pub const DEADLINE: Self = Self(124);

    /// All but those of signals, the gravest first: where several apply, the first one is said.
    pub const BY_GRAVITY: [Self; 10] = [
        Self::DEADLINE,
        Self::BUG,
        Self::USAGE,
        Self::NOT_LOADED,
        Self::FAILED,
        Self::LANE_FAILED,
        Self::FLAKY,
        Self::NOTHING,
        Self::SKIPPED,
        Self::PASSED,
    ];

    /// The graver of two; nothing is graver than a signal.
    pub fn graver(self, other: Self) -> Self {
        let place =
            |code: Self| Self::BY_GRAVITY.iter().position(|known| *known == code).map_or(0, |at| at + 1);
        if place(other) < place(self) { other } else { self }
    }

    /// Ended by signal `number`.
    pub fn signal(number: u8) -> Self {
        Self(128_u8.saturating_add(number))
    }

    /// What a run amounts to: a signal, or the first of [`ExitCode::BY_GRAVITY`] that applies.
    pub fn of(summary: &Summary, signal: Option<u8>) -> Self {
        let failures = [Verdict::Failed, Verdict::Error, Verdict::TimedOut];
        if let Some(signal) = signal {
            Self::signal(signal)
        } else if summary.deadline_passed {
            Self::DEADLINE
        } else if summary.count(&[Verdict::Bug]) > 0 {
            Self::BUG
        } else if summary.not_loaded > 0 {
            Self::NOT_LOADED
        } else if summary.count(&failures) > 0 {
            Self::FAILED
        } else if summary.count(&[Verdict::LaneFailed]) > 0 || summary.disk_failure.is_some() {
            Self::LANE_FAILED
        } else if summary.fail_on_flaky && summary.count(&[Verdict::Flaky]) > 0 {
            Self::FLAKY
        } else if summary.verdicts.is_empty() && summary.listed == 0 {
            Self::NOTHING
        } else if !summary.verdicts.is_empty() && summary.count(&[Verdict::Skipped]) == summary.verdicts.len()
        {
            Self::SKIPPED
        } else {
            Self::PASSED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(verdicts: &[Verdict]) -> u8 {
        ExitCode::of(&Summary { verdicts: verdicts.to_vec(), ..Summary::default() }, None).0
    }

    #[test]
    fn the_gravest_outcome_decides() {
        use Verdict::{Bug, Error, Failed, LaneFailed, Passed, Skipped, TimedOut};
        assert_eq!(code(&[Passed, Skipped]), 0);
        assert_eq!(code(&[Passed, Failed, LaneFailed]), 1);
        assert_eq!(code(&[TimedOut]), 1);
        assert_eq!(code(&[Error]), 1);
        assert_eq!(code(&[Passed, LaneFailed]), 16);
        assert_eq!(code(&[Failed, Bug]), 70);
        assert_eq!(code(&[]), 4);
        assert_eq!(code(&[Skipped, Skipped]), 77);
    }

    #[test]
    fn of_two_codes_the_graver_is_said() {
        for pair in ExitCode::BY_GRAVITY.windows(2) {
            assert_eq!((pair[0].graver(pair[1]), pair[1].graver(pair[0])), (pair[0], pair[0]));
        }
        let terminated = ExitCode::signal(15);
        assert_eq!(
            (terminated.graver(ExitCode::DEADLINE), ExitCode::USAGE.graver(terminated)),
            (terminated, terminated)
        );
    }

    #[test]
    fn flaky_fails_only_where_it_is_asked_to() {
        let mut summary = Summary { verdicts: vec![Verdict::Flaky, Verdict::Skipped], ..Summary::default() };
        assert_eq!(ExitCode::of(&summary, None).0, 0);
        summary.fail_on_flaky = true;
        assert_eq!(ExitCode::of(&summary, None).0, 5);
        summary.verdicts.push(Verdict::LaneFailed);
        assert_eq!(ExitCode::of(&summary, None).0, 16);
    }

    #[test]
    fn a_signal_comes_first_then_the_deadline_then_what_did_not_load() {
        let mut summary = Summary { verdicts: vec![Verdict::Failed], not_loaded: 1, ..Summary::default() };
        assert_eq!(ExitCode::of(&summary, None).0, 3);
        summary.deadline_passed = true;
        assert_eq!(ExitCode::of(&summary, None).0, 124);
        assert_eq!(ExitCode::of(&summary, Some(15)).0, 143);
    }
}
