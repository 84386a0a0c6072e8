use crate::lab::{ANSWER, Lab, decision, key, line, paste, transition};
use sextant::{Flow, Key};
use visual_digest::{ChannelHashes, Choice, Phase};

#[test]
fn the_canonical_run_records_59_events_and_drains_them() {
    let mut lab = Lab::new();
    lab.press_at(2350, '\r');
    lab.press_at(7000, 'i');
    let mut typed = Vec::new();
    for (clock, character) in (7050..).step_by(50).zip(ANSWER.chars().chain(['\r'])) {
        lab.press(character);
        typed.push(key(clock, character));
        assert!(lab.is_in_step());
    }
    lab.wait_until(9450);
    assert_eq!(lab.poll([Key::character('\r')]), Flow::PowerOff);

    let mut wanted = vec![key(2350, '\r'), transition(2350, Phase::Awaiting, Phase::Booting)];
    wanted.extend((0..=21).map(|row| line(2350 + 200 * u64::from(row), row)));
    wanted.extend([key(7000, 'i'), decision(7000, Choice::Ignore, 1)]);
    wanted.extend([line(7000, 21), line(7000, 23), line(7000, 25)]);
    wanted.extend(typed);
    wanted.extend([paste(8200, 23, true), line(8200, 21), line(8800, 22)]);
    wanted.push(transition(9000, Phase::Booting, Phase::Parked));
    wanted.extend([key(9500, '\r'), transition(9500, Phase::Parked, Phase::Parked)]);
    assert_eq!(lab.records(), wanted);
    assert_eq!(wanted.len(), 59);

    let serial = lab.serial();
    let lines: Vec<_> = serial.split("\r\n").collect();
    assert_eq!(lines[0], "available GOP modes: 640x480 800x600 1024x768 1280x720 1280x1024 1920x1080");
    assert_eq!(lines[1], "t=2350 type=keypress unicode=000d scancode=0000");
    assert_eq!(lines[2], "t=2350 type=transition from=awaiting to=booting");
    assert_eq!(lines[3], "t=2350 type=line row=0");
    assert_eq!(lines[26], "t=7000 type=bootloader_decision choice=ignore attempt=1");
    assert_eq!(lines[55], "t=8200 type=line row=21", "{lines:#?}");
    assert_eq!(lines[54], "t=8200 type=paste len=23 correct=true");
    assert_eq!(lines[59], "t=9500 type=transition from=parked to=parked");
    let frames = lab.digest().frame_counter;
    let total_ms = u64::from(frames) * 3_500 / 1_000;
    assert_eq!(
        lines[60],
        format!("type=refresh_stats count={frames} total_ms={total_ms} mean_us=3500 max_us=3500 p99_us=3500")
    );
    assert_eq!(lines[61..], [""], "the summary is last and its line ended");
}

#[test]
fn the_closing_line_is_no_event_and_has_the_cursor_behind_it() {
    let mut lab = Lab::at_paste();
    lab.type_text(ANSWER);
    lab.press('\r');
    lab.wait(600);
    lab.forget();
    lab.wait(200);
    let now = lab.clock();
    assert_eq!(lab.records(), [transition(now, Phase::Booting, Phase::Parked)]);
    assert_eq!(lab.frames(), 2, "the end of booting and the closing line");
    assert!(!lab.row(22).is_empty() && lab.row(23).is_empty() && !lab.row(24).is_empty());
    assert!(!lab.row(18).is_empty(), "the earlier text stays");
    assert!(lab.is_in_step());
    let closing = lab.row(24);
    let closing = closing.trim_end_matches('#');
    for _ in 0..8 {
        lab.wait(500);
        assert_eq!(lab.frames(), 1);
        assert!(lab.row(24) == closing || lab.row(24) == format!("{closing}#"), "{}", lab.row(24));
        assert!(lab.is_in_step());
    }
}

#[test]
fn the_phase_of_the_cursor_carries_over_from_awaiting() {
    for (ended_ms, is_on, left_ms) in [(2350, true, 150), (1650, false, 350)] {
        let mut lab = Lab::new();
        lab.press_at(ended_ms, '\r');
        lab.wait(4200);
        lab.press('i');
        lab.type_text(ANSWER);
        lab.press('\r');
        lab.wait(800);
        assert_eq!(lab.row(24).ends_with('#'), is_on);
        lab.frames();
        // The poll that ended awaiting did not reach the cursor.
        lab.wait(left_ms);
        assert_eq!(lab.frames(), 0, "awaiting ended at {ended_ms} ms");
        lab.wait(50);
        assert_eq!(lab.frames(), 1, "awaiting ended at {ended_ms} ms");
        assert_eq!(lab.row(24).ends_with('#'), !is_on);
    }
}

#[test]
fn any_key_powers_off_after_a_last_refresh() {
    for pressed in [Key::character('x'), Key::special(0x17), Key::character('9')] {
        let mut lab = Lab::parked();
        assert_eq!(lab.poll([pressed, Key::character('y')]), Flow::PowerOff);
        let records = lab.records();
        assert_eq!(records.len(), 2, "what comes after the last key is not read");
        assert_eq!(records[1], transition(8150, Phase::Parked, Phase::Parked));
        assert_eq!(lab.frames(), 1);
        assert!(lab.is_in_step());
        assert!(lab.serial().contains("type=refresh_stats"));
        assert_eq!(lab.poll([]), Flow::PowerOff, "the guest is over");
        assert_eq!(lab.serial(), "", "one drain is enough");
    }
}

#[test]
fn the_drain_holds_the_newest_256_events() {
    let mut lab = Lab::new();
    lab.press_at(2350, '\r');
    lab.wait_until(6550);
    lab.type_text(&"x".repeat(300));
    lab.press('i');
    lab.type_text(ANSWER);
    lab.press('\r');
    lab.wait(800);
    lab.serial();
    assert_eq!(lab.poll([Key::character(' ')]), Flow::PowerOff);
    let serial = lab.serial();
    let lines: Vec<_> = serial.lines().collect();
    assert_eq!(lines.len(), 257);
    assert_eq!(lines[0], "t=6600 type=keypress unicode=0078 scancode=0000");
    assert!(lines[256].starts_with("type=refresh_stats count="));

    let mut all = ChannelHashes::default();
    all.extend(&key(2350, '\r'));
    (0..300).for_each(|_| all.extend(&key(6600, 'x')));
    all.extend(&key(6650, 'i'));
    ANSWER.chars().for_each(|character| all.extend(&key(6700, character)));
    all.extend(&key(6750, '\r'));
    all.extend(&key(7600, ' '));
    assert_eq!(lab.digest().channel_hashes.keypress, all.keypress, "the hash covers what was forgotten");
}
