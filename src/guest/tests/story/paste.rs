use crate::lab::{ANSWER, Lab, key, line, paste};
use sextant::{Flow, Key};
use visual_digest::Record;

#[test]
fn every_printable_character_is_echoed_with_a_refresh_of_its_own() {
    let mut lab = Lab::at_paste();
    let prompt = lab.row(25);
    for (count, character) in (1..).zip("s {~".chars()) {
        lab.press(character);
        assert_eq!(lab.records(), [key(lab.clock(), character)]);
        assert_eq!(lab.frames(), 1, "{character:?}");
        let typed = &"s {~"[..count];
        assert_eq!(lab.row(25), format!("{prompt:<26}{typed}").trim_end());
        assert!(lab.is_in_step());
    }
    lab.type_text("abc");
    assert_eq!(lab.frames(), 3, "three in one poll");
}

#[test]
fn other_keys_are_recorded_and_ignored() {
    let mut lab = Lab::at_paste();
    lab.type_text(&ANSWER[..10]);
    lab.forget();
    lab.type_text("\t\u{8}\u{7f}\u{e4}\u{3b1}");
    assert_eq!(lab.poll([Key::special(3)]), Flow::Continue);
    assert_eq!(lab.records().len(), 6);
    assert_eq!(lab.frames(), 0);
    lab.type_text(&ANSWER[10..]);
    lab.press('\n');
    assert!(lab.records().contains(&paste(lab.clock(), 23, true)));
}

#[test]
fn the_right_answer_goes_on_after_600_ms() {
    let mut lab = Lab::at_paste();
    lab.type_text(ANSWER);
    lab.forget();
    lab.press('\r');
    let now = lab.clock();
    assert_eq!(lab.records(), [key(now, '\r'), paste(now, 23, true), line(now, 21)]);
    assert_eq!(lab.frames(), 3, "verdict, cleared rows, line");
    for row in [19, 20, 22, 23, 24, 25] {
        assert_eq!(lab.row(row), "", "row {row}");
    }
    assert!(lab.is_in_step());
    lab.wait(550);
    lab.press('1');
    assert_eq!(lab.records(), [key(now + 600, '1'), line(now + 600, 22)], "the bootloader ignores mode keys");
    assert_eq!(lab.frames(), 1);
}

#[test]
fn two_wrong_answers_are_told_and_asked_again() {
    let mut lab = Lab::at_paste();
    let prompt = lab.row(25);
    for (attempt, text) in [(1, "sextant{HELLO_OPERATOr}"), (2, "")] {
        lab.type_text(text);
        lab.forget();
        lab.press('\r');
        let now = lab.clock();
        let len = u32::try_from(text.len()).unwrap();
        assert_eq!(lab.records(), [key(now, '\r'), paste(now, len, false), line(now, 25), line(now, 26)]);
        assert_eq!(lab.frames(), 2, "verdict, then both rows");
        assert_eq!(lab.row(25), prompt);
        assert_eq!(lab.row(26), format!("(wrong, attempt {attempt} of 3)"));
        assert!(lab.is_in_step());
    }
    lab.type_text(ANSWER);
    lab.press('\r');
    assert!(lab.records().contains(&paste(lab.clock(), 23, true)));
}

#[test]
fn the_64th_character_is_wrong_without_enter() {
    let mut lab = Lab::at_paste();
    lab.type_text(&format!("{ANSWER}{}", "x".repeat(40)));
    assert!(!lab.records().contains(&paste(lab.clock(), 63, false)));
    assert_eq!(lab.frames(), 63);
    lab.press('x');
    let now = lab.clock();
    assert_eq!(lab.records(), [key(now, 'x'), paste(now, 64, false), line(now, 25), line(now, 26)]);
    lab.type_text(ANSWER);
    lab.press('\r');
    assert!(lab.records().contains(&paste(lab.clock(), 23, true)), "the buffer was emptied");
}

#[test]
fn the_third_wrong_answer_ends_it_35_s_later_without_a_drain() {
    let mut lab = Lab::at_paste();
    lab.type_text("a\rb\rc");
    lab.forget();
    lab.press('\r');
    let now = lab.clock();
    assert_eq!(
        lab.records(),
        [key(now, '\r'), paste(now, 1, false), Record::BootloaderTimeout { timestamp_ms: now }]
    );
    assert_eq!(lab.frames(), 3, "verdict, cleared rows, the first number");
    for row in [19, 20, 22, 23, 24, 25, 26] {
        assert_eq!(lab.row(row), "", "row {row}");
    }
    check_ending(&mut lab, now);
}

#[test]
fn a_minute_of_silence_ends_it() {
    let mut lab = Lab::at_paste();
    lab.wait(59_900);
    assert_eq!(lab.poll([Key::special(1)]), Flow::Continue, "any key breaks the silence");
    lab.press('s');
    let last_key = lab.clock();
    lab.wait(59_950);
    lab.forget();
    lab.wait(50);
    let now = last_key + 60_000;
    assert_eq!(lab.records(), [Record::BootloaderTimeout { timestamp_ms: now }]);
    assert_eq!(lab.frames(), 2);
    check_ending(&mut lab, now);
}

/// Checks the countdown which began at `begin`, to the end of the machine.
fn check_ending(lab: &mut Lab, begin: u64) {
    assert!(lab.row(21).contains("30"), "{}", lab.row(21));
    for second in (1..30).rev() {
        lab.wait(1000);
        assert_eq!(lab.frames(), 1);
        assert!(lab.row(21).contains(&format!("{second:02}")), "{}", lab.row(21));
        assert!(lab.is_in_step());
    }
    lab.press_at(begin + 29_500, 'x');
    assert_eq!(lab.records(), [key(begin + 29_500, 'x')], "keys change nothing any more");
    lab.wait_until(begin + 30_000);
    assert_eq!(lab.records(), [line(begin + 30_000, 23)]);
    assert_eq!(lab.frames(), 2, "the last number and the last line");
    assert!(lab.row(21).contains("00"), "{}", lab.row(21));
    lab.wait(4950);
    assert_eq!(lab.poll([]), Flow::PowerOff);
    assert_eq!(lab.clock(), begin + 35_000);
    assert_eq!(lab.serial(), "");
    assert_eq!(lab.records(), []);
}
