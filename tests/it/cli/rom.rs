//! A machine without firmware and without a guest: sixty-four kibibytes that write to the serial port and rest. It is
//! up in a quarter of a second and then uses no processor, so what is tested is the program around it.

/// Its profile; the image is `rom.bin` beside it.
pub(crate) const ROM_LANE: &str = r#"kind = "qemu"

[machine]
accel = "tcg"
memory_mib = 16

[firmware]
bios = "rom.bin"

[[gate]]
kind = "qmp"
timeout = 20

[[gate]]
kind = "spice-surface"
timeout = 20
"#;

/// The image: 16-bit code at the reset vector.
pub(crate) fn rom() -> Vec<u8> {
    let mut rom = vec![0xF4; 0x1_0000];
    let mut put = |at: usize, bytes: &[u8]| rom[at..at + bytes.len()].copy_from_slice(bytes);
    put(0xFE00, b"rom: one line\r\nrom: login: \0");
    #[rustfmt::skip]
    put(0xFF00, &[
        0xFA,             //       cli
        0xBE, 0x00, 0xFE, //       mov si, 0xFE00
        0xBA, 0xF8, 0x03, //       mov dx, 0x3F8   the first serial port
        0x2E, 0xAC,       // next: cs lodsb
        0x84, 0xC0,       //       test al, al
        0x74, 0x03,       //       jz rest
        0xEE,             //       out dx, al
        0xEB, 0xF7,       //       jmp next
        0xF4,             // rest: hlt
        0xEB, 0xFD,       //       jmp rest
    ]);
    put(0xFFF0, &[0xE9, 0x0D, 0xFF]); // jmp 0xFF00
    rom
}
