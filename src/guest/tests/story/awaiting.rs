use crate::lab::{Lab, key, line, transition};
use sextant::{BANNER, Flow, Key};
use visual_digest::{Phase, Record};

#[test]
fn boots_into_the_nearest_mode_and_lists_all_of_them() {
    let mut lab = Lab::with_modes(&[(640, 480), (1280, 800), (1000, 768), (1920, 1080)]);
    assert_eq!(BANNER, "Hello from Uncalibrated Sextant");
    assert_eq!(lab.serial(), "available GOP modes: 640x480 1280x800 1000x768 1920x1080\r\n");
    assert_eq!(lab.size(), (1000, 768));
    assert!(lab.is_in_step());
}

#[test]
fn a_screen_without_modes_is_used_as_it_is() {
    let mut lab = Lab::with_modes(&[]);
    assert_eq!(lab.serial(), "available GOP modes:\r\n");
    assert_eq!(lab.size(), (1280, 800));
    lab.press('1');
    lab.press('0');
    assert_eq!(lab.size(), (1280, 800));
    assert!(matches!(lab.records()[1], Record::ModeSwitch { applied_w: 1280, applied_h: 800, .. }));
    lab.wait(2000);
    assert!(lab.is_in_step());
}

#[test]
fn two_refreshes_at_once_then_one_with_every_change_of_the_cursor() {
    let mut lab = Lab::new();
    assert_eq!(lab.frames(), 2);
    for half_second in 1..=10 {
        lab.wait(450);
        assert_eq!(lab.frames(), 0);
        lab.wait(50);
        assert_eq!(lab.frames(), 1);
        assert_eq!(lab.clock(), half_second * 500);
        let is_off = half_second % 2 == 1;
        assert_eq!(lab.cell(0, 0) == ' ', is_off, "at {} ms", lab.clock());
        assert!(lab.is_in_step());
    }
}

#[test]
fn waits_for_ever_and_records_nothing() {
    let mut lab = Lab::new();
    lab.wait(20 * 60 * 1000);
    assert_eq!(lab.records(), []);
    assert_eq!(lab.digest().frame_counter, 2 + 2 * 20 * 60);
}

#[test]
fn any_key_goes_on_with_a_refresh_before_the_first_line() {
    let keys = [Key::character('\r'), Key::character('7'), Key::character('\u{3b1}'), Key::special(1)];
    for pressed in keys {
        let mut lab = Lab::new();
        lab.wait_until(300);
        lab.forget();
        assert_eq!(lab.poll([pressed]), Flow::Continue);
        let Key { unicode, scancode } = pressed;
        let first = Record::Keypress { unicode, scancode, timestamp_ms: 350 };
        assert_eq!(lab.records(), [first, transition(350, Phase::Awaiting, Phase::Booting), line(350, 0)]);
        assert_eq!(lab.frames(), 2);
        assert!(lab.is_in_step());
    }
}

#[test]
fn keys_that_arrive_together_are_handled_in_their_order() {
    let mut lab = Lab::new();
    assert_eq!(lab.poll("1\rx".chars().map(Key::character)), Flow::Continue);
    let records = lab.records();
    assert_eq!(lab.size(), (640, 480));
    assert_eq!(records[0], key(50, '1'));
    assert_eq!(records[2], key(50, '\r'));
    assert_eq!(records.last(), Some(&key(50, 'x')));
}
