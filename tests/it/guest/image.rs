use std::path::Path;

fn image() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/guest/sextant.efi");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; .ci/build-guest makes it", path.display()))
}

fn u16_at(image: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([image[offset], image[offset + 1]])
}

#[test]
fn the_image_is_a_uefi_application_for_x86_64() {
    let image = image();
    assert_eq!(&image[..2], b"MZ");
    let header = usize::from(u16_at(&image, 0x3C));
    assert_eq!(&image[header..header + 4], b"PE\0\0");
    assert_eq!(u16_at(&image, header + 4), 0x8664, "machine x86_64");
    assert_eq!(u16_at(&image, header + 24 + 68), 10, "subsystem EFI application");
}

/// What a build finds on its machine must not be in the image, or no two machines build the same one.
#[test]
fn the_image_names_no_directory_of_the_machine_it_was_built_on() {
    let text: String = image().iter().map(|byte| char::from(*byte)).collect();
    for place in [env!("CARGO_MANIFEST_DIR"), ".cargo/registry", "registry/src", ".pdb"] {
        assert!(!text.contains(place), "found {place}");
    }
}
