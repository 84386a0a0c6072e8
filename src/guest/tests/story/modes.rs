use crate::lab::{ANSWER, Lab, MODES, cycle, key, line, switch, transition};
use sextant::{Flow, Key};
use visual_digest::Phase;

const LAST_ROW: [((u32, u32), u32); 6] = [
    ((640, 480), 27),
    ((800, 600), 34),
    ((1024, 768), 45),
    ((1280, 720), 42),
    ((1280, 1024), 61),
    ((1920, 1080), 64),
];

#[test]
fn each_key_sets_its_mode_and_says_so_in_a_toast() {
    for (character, (size, last_row)) in ('1'..).zip(LAST_ROW) {
        let mut lab = Lab::new();
        lab.wait_until(150);
        lab.forget();
        lab.press(character);
        assert_eq!(lab.records(), [key(200, character), switch(200, size, size)]);
        assert_eq!(lab.frames(), 1, "a repaint refreshes, a toast does not");
        assert_eq!(lab.size(), size);
        assert_eq!(lab.row(last_row), format!("mode {}x{}", size.0, size.1));
        assert!(!lab.is_in_step(), "the toast is not in the hash yet");
        lab.wait_until(500);
        assert!(lab.is_in_step(), "but with the next refresh");
    }
}

#[test]
fn a_mode_that_is_not_there_is_replaced_by_the_nearest() {
    let mut lab = Lab::with_modes(&[(640, 480), (1024, 768)]);
    lab.press('4');
    assert_eq!(lab.records(), [key(50, '4'), switch(50, (1280, 720), (1024, 768))]);
    assert_eq!(lab.row(45), "requested 1280x720 -> using 1024x768");
}

#[test]
fn what_counts_is_the_size_the_screen_has_afterwards() {
    let mut lab = Lab::with_lying_mode(&MODES, 3, (1280, 768));
    lab.press('4');
    assert_eq!(lab.records(), [key(50, '4'), switch(50, (1280, 720), (1280, 768))]);
    assert_eq!(lab.size(), (1280, 768));
    lab.wait(1500);
    assert!(lab.is_in_step());
}

#[test]
fn the_toast_goes_after_1500_ms_with_a_repaint() {
    let mut lab = Lab::at_paste();
    lab.type_text(ANSWER);
    lab.press('\r');
    lab.wait(650);
    lab.press('3');
    let shown = lab.clock();
    lab.wait_until(shown + 1450);
    assert_eq!(lab.row(45), "mode 1024x768");
    lab.forget();
    lab.wait(50);
    assert_eq!(lab.row(45), "");
    assert_eq!(lab.records(), [], "a repaint is no event");
    assert!(lab.frames() >= 1);
    assert!(lab.is_in_step());
}

#[test]
fn a_second_switch_replaces_the_toast_and_its_time() {
    let mut lab = Lab::new();
    lab.press('2');
    lab.wait(1000);
    lab.press('3');
    lab.wait(1450);
    assert_eq!(lab.row(45), "mode 1024x768");
    lab.wait(50);
    assert_eq!(lab.row(45), "");
}

#[test]
fn the_screen_after_a_switch_there_and_back_is_the_screen_before() {
    let mut lab = Lab::parked();
    let text = |lab: &Lab| (0..25).map(|row| lab.row(row)).collect::<Vec<_>>();
    let before = text(&lab);
    lab.type_text("13");
    lab.wait(2000);
    assert_eq!(text(&lab), before);
    assert!(lab.is_in_step());
}

#[test]
fn mode_keys_act_while_the_script_waits_and_cost_no_time() {
    let mut lab = Lab::new();
    lab.press_at(1000, '\r');
    lab.press_at(1100, '2');
    lab.forget();
    assert_eq!(lab.size(), (800, 600));
    lab.wait_until(1200);
    assert_eq!(lab.records(), [line(1200, 1)]);
    lab.wait_until(2500);
    lab.forget();
    lab.wait_until(2600);
    assert_eq!(lab.records(), [line(2600, 8)]);
    assert_eq!(lab.frames(), 2, "the line, and the repaint that ends the toast");
    assert!(lab.is_in_step());
}

#[test]
fn a_toast_may_outlive_the_script_but_not_its_own_time() {
    let mut lab = Lab::new();
    lab.press_at(1000, '\r');
    lab.press_at(4750, '3');
    lab.wait_until(6200);
    assert_eq!(lab.row(45), "mode 1024x768");
    lab.forget();
    lab.wait_until(6250);
    assert_eq!((lab.row(45), lab.frames()), (String::new(), 1));
    assert!(lab.is_in_step());
}

#[test]
fn a_walk_shows_every_mode_for_a_second_and_stays_in_the_last() {
    let mut lab = Lab::new();
    lab.press('0');
    let mut wanted = vec![key(50, '0')];
    wanted.extend((0..).zip(MODES).map(|(done, size)| switch(50 + 1000 * done, size, size)));
    for (size, last_row) in LAST_ROW {
        assert_eq!(lab.size(), size);
        assert_eq!(lab.row(last_row), format!("mode {}x{}", size.0, size.1));
        lab.wait(1000);
    }
    wanted.push(cycle(6050, 6, false));
    assert_eq!(lab.records(), wanted);
    assert_eq!(lab.size(), (1920, 1080));
    lab.wait(10_000);
    assert_eq!(lab.records(), []);
    assert!(lab.is_in_step());
}

#[test]
fn a_key_stops_the_walk_and_does_nothing_else() {
    let mut lab = Lab::new();
    lab.press('0');
    lab.wait(1000);
    lab.records();
    lab.press_at(1500, '\r');
    assert_eq!(lab.records(), [key(1500, '\r'), cycle(1500, 2, true)]);
    lab.wait(5000);
    assert_eq!(lab.records(), [], "still awaiting");
    assert_eq!(lab.size(), (800, 600));
    lab.press('\r');
    assert_eq!(lab.records()[1], transition(6550, Phase::Awaiting, Phase::Booting));
}

#[test]
fn a_key_that_stops_the_walk_does_not_end_parked() {
    let mut lab = Lab::parked();
    lab.press('0');
    lab.wait(100);
    lab.press('q');
    let now = lab.clock();
    assert_eq!(lab.records()[2..], [key(now, 'q'), cycle(now, 1, true)]);
    assert_eq!(lab.poll([Key::character('q')]), Flow::PowerOff);
}

#[test]
fn a_mode_key_stops_the_walk_and_is_obeyed() {
    let mut lab = Lab::new();
    lab.press('0');
    lab.wait(2000);
    lab.records();
    lab.press('1');
    let now = lab.clock();
    assert_eq!(lab.records(), [key(now, '1'), cycle(now, 3, true), switch(now, (640, 480), (640, 480))]);
    lab.wait(5000);
    assert_eq!(lab.records(), []);
}

#[test]
fn another_0_starts_the_walk_over() {
    let mut lab = Lab::new();
    lab.press('0');
    lab.wait(1500);
    lab.records();
    lab.press('0');
    let now = lab.clock();
    assert_eq!(lab.records(), [key(now, '0'), cycle(now, 2, true), switch(now, (640, 480), (640, 480))]);
    lab.wait(6000);
    assert_eq!(lab.records().last(), Some(&cycle(now + 6000, 6, false)));
}

#[test]
fn the_script_stands_still_during_a_walk() {
    let mut lab = Lab::new();
    lab.press_at(1000, '\r');
    lab.press_at(1100, '0');
    lab.records();
    lab.wait(6000);
    assert_eq!(lab.records().last(), Some(&cycle(7100, 6, false)));
    lab.wait(100);
    assert_eq!(lab.records(), [line(7200, 1)], "100 ms were left of the pause");
}
