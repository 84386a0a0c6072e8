use crate::lab::{Lab, decision, key, line};
use sextant::{Flow, Key};
use visual_digest::Choice;

#[test]
fn the_prompt_waits_for_ever_and_other_keys_change_nothing() {
    let mut lab = Lab::at_prompt();
    lab.wait(10 * 60 * 1000);
    let size = lab.size();
    lab.type_text("x1604\r\n ");
    assert_eq!(lab.poll([Key::special(0x17)]), Flow::Continue);
    assert_eq!(lab.records().len(), 9);
    assert_eq!(lab.frames(), 0, "a key alone does not refresh the digest here");
    assert_eq!(lab.size(), size);
}

#[test]
fn answers_count_in_either_case() {
    for (small, capital) in [('r', 'R'), ('i', 'I')] {
        for character in [small, capital] {
            let mut lab = Lab::at_prompt();
            lab.press_at(7000, character);
            let choice = if small == 'r' { Choice::Retry } else { Choice::Ignore };
            assert_eq!(lab.records()[..2], [key(7000, character), decision(7000, choice, 1)]);
        }
    }
}

#[test]
fn abort_resets_at_once_without_a_drain() {
    for character in ['a', 'A'] {
        let mut lab = Lab::at_prompt();
        lab.wait_until(6950);
        assert_eq!(lab.poll([Key::character(character), Key::character('i')]), Flow::Reset);
        assert_eq!(lab.records(), [key(7000, character), decision(7000, Choice::Abort, 1)]);
        assert_eq!(lab.serial(), "");
        assert_eq!(lab.poll([]), Flow::Reset, "the guest is over");
        assert_eq!(lab.clock(), 7000);
    }
}

#[test]
fn retry_grows_eight_dots_and_asks_again() {
    let mut lab = Lab::at_prompt();
    let prompt = lab.row(21);
    lab.press_at(7000, 'r');
    assert_eq!(lab.records(), [key(7000, 'r'), decision(7000, Choice::Retry, 1)]);
    assert_eq!(lab.frames(), 0, "the text comes before the first dot");
    let text = lab.row(21);
    for dot in 1..8 {
        lab.wait(200);
        assert_eq!(lab.frames(), 1, "dot {dot}");
        assert_eq!(lab.row(21), format!("{text}{}", ".".repeat(dot)));
        assert!(lab.is_in_step());
    }
    assert_eq!(lab.records(), []);
    lab.wait(200);
    assert_eq!(lab.records(), [line(8600, 21)]);
    assert_eq!(lab.frames(), 2, "the eighth dot and the prompt");
    assert_eq!(lab.row(21), format!("{prompt} (attempt 2)"));
}

#[test]
fn keys_during_a_retry_are_recorded_and_do_not_answer() {
    let mut lab = Lab::at_prompt();
    lab.press_at(7000, 'r');
    lab.type_text("ia1");
    lab.wait_until(8600);
    assert_eq!(
        lab.records(),
        [
            key(7000, 'r'),
            decision(7000, Choice::Retry, 1),
            key(7050, 'i'),
            key(7050, 'a'),
            key(7050, '1'),
            line(8600, 21)
        ]
    );
}

#[test]
fn a_note_comes_with_the_fifth_retry_and_stays() {
    let mut lab = Lab::at_prompt();
    for attempt in 1..=7 {
        lab.press('r');
        let asked = lab.clock();
        lab.wait(1600);
        let shown = lab.clock();
        let mut wanted = vec![key(asked, 'r'), decision(asked, Choice::Retry, attempt)];
        wanted.extend(match attempt {
            ..5 => vec![line(shown, 21)],
            5 => vec![line(shown, 22), line(shown, 21), line(shown, 22)],
            6.. => vec![line(shown, 21), line(shown, 22)],
        });
        assert_eq!(lab.records(), wanted, "retry {attempt}");
        let lines = u32::try_from(wanted.len()).unwrap() - 2;
        assert_eq!(lab.frames(), 8 + lines, "retry {attempt}");
        assert!(lab.row(21).ends_with(&format!("(attempt {})", attempt + 1)));
        assert_eq!(lab.row(22).is_empty(), attempt < 5);
    }
    assert!(lab.is_in_step());
}

#[test]
fn ignore_clears_the_note_and_explains_on_three_rows_at_once() {
    let mut lab = Lab::at_prompt();
    for _ in 0..5 {
        lab.press('r');
        lab.wait(1600);
    }
    lab.forget();
    lab.press('i');
    let now = lab.clock();
    assert_eq!(
        lab.records(),
        [key(now, 'i'), decision(now, Choice::Ignore, 6), line(now, 21), line(now, 23), line(now, 25)]
    );
    assert_eq!(lab.frames(), 3);
    assert_eq!(lab.row(22), "");
    assert_eq!(lab.row(23).trim(), "c2V4dGFudHtIRUxMT19PUEVSQVRPUn0=");
    assert!(lab.is_in_step());
}
