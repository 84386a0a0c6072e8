use crate::lab::{Lab, key, line};
use visual_digest::Record;

#[test]
fn lines_come_every_200_ms_with_a_refresh_each() {
    let mut lab = Lab::new();
    lab.press_at(2350, '\r');
    assert_eq!(lab.records().last(), Some(&line(2350, 0)));
    lab.frames();
    for row in 1..=21 {
        lab.wait(150);
        assert_eq!(lab.records(), [], "before row {row}");
        lab.wait(50);
        assert_eq!(lab.records(), [line(lab.clock(), row)]);
        assert_eq!(lab.frames(), 1);
        assert!(lab.is_in_step());
    }
    assert_eq!(lab.clock(), 2350 + 4200);
}

#[test]
fn the_channels_have_the_published_values_at_the_prompt() {
    let mut lab = Lab::new();
    lab.press_at(2350, '\r');
    lab.wait_until(6550);
    let digest = lab.digest();
    assert_eq!(digest.channel_hashes.line_rendered, 0x89F3_3645);
    assert_eq!(digest.channel_hashes.keypress, 0x1220_C3AD);
    assert_eq!(digest.channel_hashes.scene_transition, 0xA995_5795);
    assert_eq!(digest.raw_records, [line(6150, 19), line(6350, 20), line(6550, 21)]);
    assert!(lab.is_in_step());
}

#[test]
fn keys_during_the_script_are_recorded_and_thrown_away() {
    let mut lab = Lab::new();
    lab.press_at(2350, '\r');
    for _ in 0..10 {
        lab.type_text("iri\ra");
    }
    lab.wait_until(6550);
    let is_key = |record: &Record| matches!(record, Record::Keypress { .. });
    assert_eq!(lab.records().into_iter().filter(is_key).count(), 51);
    lab.wait(5000);
    assert_eq!(lab.records(), [], "the prompt still waits");
}

#[test]
fn a_key_pressed_as_a_line_is_due_comes_before_it() {
    let mut lab = Lab::new();
    lab.press_at(1000, '\r');
    lab.records();
    lab.press_at(1200, 'x');
    assert_eq!(lab.records(), [key(1200, 'x'), line(1200, 1)]);
}

#[test]
fn rows_have_the_published_layout() {
    let lab = Lab::at_prompt();
    for row in [2, 3, 4, 5, 6, 12, 13, 14, 15, 16, 17, 19, 20] {
        let text = lab.row(row);
        let (label, dots) = text[..40].split_at(text.find(" .").expect("dots after the label"));
        assert!(!label.is_empty() && dots[1..].bytes().all(|byte| byte == b'.'), "row {row}: {text}");
        assert!(&text[40..41] == " " && &text[41..42] != " ", "row {row}: {text}");
    }
    for row in [7, 8, 9, 10, 11] {
        assert!(lab.row(row).starts_with(' '), "row {row}");
    }
    assert!(lab.row(11).ends_with("1024x768"));
    assert!(lab.row(18).starts_with(|first: char| first.is_ascii_alphabetic()));
    for row in [0, 1] {
        assert!(lab.row(row).starts_with("##"), "row {row} is drawn from pictures");
    }
    assert!(lab.row(21).contains("(R)etry, (I)gnore, (A)bort?"));
}

#[test]
fn text_keeps_clear_of_the_logo_on_the_smallest_screen() {
    let mut lab = Lab::new();
    lab.press('1');
    lab.press('\r');
    lab.wait(4200);
    let logo_column = 60;
    for row in 0..8 {
        let text: String = (0..logo_column).map(|column| lab.cell(column, row)).collect();
        assert!(text.ends_with("  "), "row {row}: {text}");
    }
}
