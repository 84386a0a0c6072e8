//! The firmware's graphics output: straight into video memory where it has our pixel format, else through its blits.

use alloc::vec::Vec;
use core::ptr;
use sextant::{Frame, Size};
use uefi::boot::{self, OpenProtocolParams, ScopedProtocol};
use uefi::proto::console::gop::{BltOp, BltPixel, BltRegion, GraphicsOutput, PixelFormat};
use uefi::proto::device_path::DevicePath;
use uefi::{Handle, Status};

const PIXEL_BYTES: usize = 4;

pub(crate) struct Display {
    output: ScopedProtocol<GraphicsOutput>,
}

/// Opens the output that is a device, so that the firmware's console lets go of it; a virtual one where no device is.
pub(crate) fn open() -> uefi::Result<Display> {
    let mut handles = boot::find_handles::<GraphicsOutput>()?;
    // The console splitter's own output has no device path. The sort is stable: firmware order among equals.
    handles.sort_by_key(|handle| !has_device_path(*handle));
    handles
        .into_iter()
        .find_map(|handle| boot::open_protocol_exclusive::<GraphicsOutput>(handle).ok())
        .map(|output| Display { output })
        .ok_or_else(|| Status::NOT_FOUND.into())
}

fn has_device_path(handle: Handle) -> bool {
    boot::test_protocol::<DevicePath>(OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    })
    .unwrap_or(false)
}

impl Display {
    pub(crate) fn modes(&self) -> impl Iterator<Item = Size> {
        self.output.modes().map(|mode| to_size(mode.info().resolution()))
    }

    pub(crate) fn size(&self) -> Size {
        to_size(self.output.current_mode_info().resolution())
    }

    /// Changes the mode if the firmware can; whether it did shows in the size.
    pub(crate) fn set_mode(&mut self, index: usize) {
        let mode = self.output.modes().nth(index);
        if let Some(mode) = mode {
            let _ = self.output.set_mode(&mode);
        }
    }

    pub(crate) fn present(&mut self, piece: Frame<'_>, x: u32, y: u32) {
        if self.output.current_mode_info().pixel_format() == PixelFormat::Bgr {
            self.copy(piece, x as usize, y as usize);
        } else {
            self.blit(piece, x as usize, y as usize);
        }
    }

    fn copy(&mut self, piece: Frame<'_>, x: usize, y: usize) {
        let stride_bytes = self.output.current_mode_info().stride() * PIXEL_BYTES;
        let mut memory = self.output.frame_buffer();
        for (y, row) in (y..).zip(rows(piece)) {
            let start = y * stride_bytes + x * PIXEL_BYTES;
            if start + row.len() > memory.size() {
                return;
            }
            // SAFETY: the row ends within the video memory, which is no part of the frame.
            unsafe { ptr::copy_nonoverlapping(row.as_ptr(), memory.as_mut_ptr().add(start), row.len()) };
        }
    }

    fn blit(&mut self, piece: Frame<'_>, x: usize, y: usize) {
        let pixels = rows(piece).flat_map(|row| row.chunks_exact(PIXEL_BYTES));
        let buffer: Vec<_> = pixels.map(|pixel| BltPixel::new(pixel[2], pixel[1], pixel[0])).collect();
        // A blit within the screen does not fail, and if it does, the digest that is not there says so.
        let _ = self.output.blt(BltOp::BufferToVideo {
            buffer: &buffer,
            src: BltRegion::Full,
            dest: (x, y),
            dims: (piece.width() as usize, piece.height() as usize),
        });
    }
}

fn rows<'a>(piece: Frame<'a>) -> impl Iterator<Item = &'a [u8]> {
    (0..piece.height()).map(move |y| piece.row(y, 0..piece.width()))
}

fn to_size((width, height): (usize, usize)) -> Size {
    let narrow = |side| u32::try_from(side).unwrap_or(u32::MAX);
    Size::new(narrow(width), narrow(height))
}
