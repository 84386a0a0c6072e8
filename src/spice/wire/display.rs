//! The display channel without its drawing: surfaces, caches, monitors, streams.

use super::base::WaitForChannel;
use super::bytes::{Counted, Field, Message, Reader, WireError, Writer, fields, message, message_set};
use super::draw::{
    CopyBits, DrawAlphaBlend, DrawBlackness, DrawBlend, DrawComposite, DrawCopy, DrawFill, DrawInvers,
    DrawOpaque, DrawRop3, DrawStroke, DrawText, DrawTransparent, DrawWhiteness,
};
use super::elements::{Element, Elements};
use super::types::{Clip, Rect};

/// Bits of the channel capability word.
pub mod capability {
    /// STREAM_DATA_SIZED may be sent.
    pub const SIZED_STREAM: u32 = 0;
    /// MONITORS_CONFIG may be sent.
    pub const MONITORS_CONFIG: u32 = 1;
    /// DRAW_COMPOSITE may be sent.
    pub const COMPOSITE: u32 = 2;
    /// Surfaces of eight bits of alpha may be created.
    pub const A8_SURFACE: u32 = 3;
    /// STREAM_ACTIVATE_REPORT may be sent.
    pub const STREAM_REPORT: u32 = 4;
    /// LZ4 images may be sent to those who ask for them.
    pub const LZ4: u32 = 5;
    /// PREFERRED_COMPRESSION is understood.
    pub const PREF_COMPRESSION: u32 = 6;
    /// Streams come in none but the codecs that are named.
    pub const MULTI_CODEC: u32 = 8;
    /// Streams may be MJPEG.
    pub const CODEC_MJPEG: u32 = 9;
}

message! {
    /// SPICE_MSG_DISPLAY_MODE, from servers older than surfaces.
    101 "MODE" Mode {
        /// Pixels per row.
        x_res: u32,
        /// Rows.
        y_res: u32,
        /// Bits per pixel.
        bits: u32,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_MARK: the primary surface is worth showing.
    102 "MARK" Mark {}
}

message! {
    /// SPICE_MSG_DISPLAY_RESET.
    103 "RESET" Reset {}
}

fields! {
    /// SpiceResourceID.
    #[derive(Copy)]
    ResourceId {
        /// 1: an image.
        kind: u8,
        /// Its key in the image cache.
        id: u64,
    }
}

impl Element for ResourceId {
    type Of<'b> = Self;
    const BYTES: u64 = 9;
}

/// SPICE_MSG_DISPLAY_INVAL_LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalList<'a> {
    /// What to forget.
    pub resources: Elements<'a, ResourceId>,
}

impl<'a> Field<'a> for InvalList<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u16::decode(reader)?;
        Ok(Self { resources: Elements::decode(reader, count)? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u16>(self.resources.len());
        self.resources.encode(writer);
    }
}

impl<'a> Message<'a> for InvalList<'a> {
    const KIND: u16 = 105;
    const NAME: &'static str = "INVAL_LIST";
}

/// SPICE_MSG_DISPLAY_INVAL_ALL_PIXMAPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalAllPixmaps {
    /// To be satisfied first.
    pub wait_list: Vec<WaitForChannel>,
}

impl<'a> Field<'a> for InvalAllPixmaps {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u8::decode(reader)?;
        Ok(Self { wait_list: reader.list(count.into(), 10)? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u8>(self.wait_list.len());
        self.wait_list.iter().for_each(|entry| entry.encode(writer));
    }
}

impl Message<'_> for InvalAllPixmaps {
    const KIND: u16 = 106;
    const NAME: &'static str = "INVAL_ALL_PIXMAPS";
}

message! {
    /// SPICE_MSG_DISPLAY_INVAL_PALETTE.
    107 "INVAL_PALETTE" InvalPalette {
        /// Key in the palette cache.
        id: u64,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_INVAL_ALL_PALETTES.
    108 "INVAL_ALL_PALETTES" InvalAllPalettes {}
}

message! {
    /// SPICE_MSG_DISPLAY_STREAM_CREATE.
    122 "STREAM_CREATE" StreamCreate<'a> {
        /// Surface drawn to.
        surface_id: u32,
        /// The stream.
        id: u32,
        /// [`StreamCreate::TOP_DOWN`].
        flags: u8,
        /// 1 MJPEG, 2 VP8, 3 H264, 4 VP9, 5 H265.
        codec_type: u8,
        /// Number of the stream.
        stamp: u64,
        /// Width of a frame.
        stream_width: u32,
        /// Height of a frame.
        stream_height: u32,
        /// Width of the part of a frame that is shown.
        src_width: u32,
        /// Height of the part of a frame that is shown.
        src_height: u32,
        /// Where it is shown.
        dest: Rect,
        /// Where inside `dest`.
        clip: Clip<'a>,
    }
}

impl StreamCreate<'_> {
    /// The first row of a frame is the top row.
    pub const TOP_DOWN: u8 = 1;
}

message! {
    /// SPICE_MSG_DISPLAY_STREAM_DATA.
    123 "STREAM_DATA" StreamData<'a> {
        /// The stream.
        id: u32,
        /// When to show it.
        multi_media_time: u32,
        /// One frame.
        data: Counted<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_STREAM_CLIP.
    124 "STREAM_CLIP" StreamClip<'a> {
        /// The stream.
        id: u32,
        /// Its new clip.
        clip: Clip<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_STREAM_DESTROY.
    125 "STREAM_DESTROY" StreamDestroy {
        /// The stream.
        id: u32,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_STREAM_DESTROY_ALL.
    126 "STREAM_DESTROY_ALL" StreamDestroyAll {}
}

message! {
    /// SPICE_MSG_DISPLAY_SURFACE_CREATE.
    314 "SURFACE_CREATE" SurfaceCreate {
        /// The surface.
        surface_id: u32,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// 1 A1, 8 A8, 16 555, 80 565, 32 xRGB, 96 ARGB.
        format: u32,
        /// See the constants.
        flags: u32,
    }
}

impl SurfaceCreate {
    /// This surface is the screen.
    pub const PRIMARY: u32 = 1;
}

message! {
    /// SPICE_MSG_DISPLAY_SURFACE_DESTROY.
    315 "SURFACE_DESTROY" SurfaceDestroy {
        /// The surface.
        surface_id: u32,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_STREAM_DATA_SIZED.
    316 "STREAM_DATA_SIZED" StreamDataSized<'a> {
        /// The stream.
        id: u32,
        /// When to show it.
        multi_media_time: u32,
        /// Width of this frame.
        width: u32,
        /// Height of this frame.
        height: u32,
        /// Where this frame is shown.
        dest: Rect,
        /// One frame.
        data: Counted<'a>,
    }
}

fields! {
    /// SpiceHead.
    #[derive(Copy)]
    Head {
        /// The monitor.
        monitor_id: u32,
        /// The surface it shows.
        surface_id: u32,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// Left edge on the surface.
        x: u32,
        /// Top edge on the surface.
        y: u32,
        /// Unused.
        flags: u32,
    }
}

/// SPICE_MSG_DISPLAY_MONITORS_CONFIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorsConfig {
    /// The largest number of heads there can be.
    pub max_allowed: u16,
    /// The visible parts of surfaces.
    pub heads: Vec<Head>,
}

impl<'a> Field<'a> for MonitorsConfig {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (count, max_allowed) = (u16::decode(reader)?, u16::decode(reader)?);
        Ok(Self { max_allowed, heads: reader.list(count.into(), 28)? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u16>(self.heads.len());
        self.max_allowed.encode(writer);
        self.heads.iter().for_each(|head| head.encode(writer));
    }
}

impl Message<'_> for MonitorsConfig {
    const KIND: u16 = 317;
    const NAME: &'static str = "MONITORS_CONFIG";
}

message! {
    /// SPICE_MSG_DISPLAY_STREAM_ACTIVATE_REPORT.
    319 "STREAM_ACTIVATE_REPORT" StreamActivateReport {
        /// The stream.
        stream_id: u32,
        /// Number of the activation.
        unique_id: u32,
        /// Frames per report.
        max_window_size: u32,
        /// Milliseconds per report.
        timeout_ms: u32,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_GL_SCANOUT_UNIX; a file descriptor comes with it.
    320 "GL_SCANOUT_UNIX" GlScanoutUnix {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from one row to the next.
        stride: u32,
        /// Pixel format as a DRM fourcc.
        drm_fourcc_format: u32,
        /// 1: row 0 is the top row.
        flags: u32,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_GL_DRAW.
    321 "GL_DRAW" GlDraw {
        /// Left edge.
        x: u32,
        /// Top edge.
        y: u32,
        /// Width.
        w: u32,
        /// Height.
        h: u32,
    }
}

message_set! {
    /// What a server says on a display channel.
    DisplayMessage<'a> {
        Mode(Mode),
        Mark(Mark),
        Reset(Reset),
        CopyBits(CopyBits<'a>),
        InvalList(InvalList<'a>),
        InvalAllPixmaps(InvalAllPixmaps),
        InvalPalette(InvalPalette),
        InvalAllPalettes(InvalAllPalettes),
        StreamCreate(StreamCreate<'a>),
        StreamData(StreamData<'a>),
        StreamClip(StreamClip<'a>),
        StreamDestroy(StreamDestroy),
        StreamDestroyAll(StreamDestroyAll),
        DrawFill(DrawFill<'a>),
        DrawOpaque(DrawOpaque<'a>),
        DrawCopy(DrawCopy<'a>),
        DrawBlend(DrawBlend<'a>),
        DrawBlackness(DrawBlackness<'a>),
        DrawWhiteness(DrawWhiteness<'a>),
        DrawInvers(DrawInvers<'a>),
        DrawRop3(DrawRop3<'a>),
        DrawStroke(DrawStroke<'a>),
        DrawText(DrawText<'a>),
        DrawTransparent(DrawTransparent<'a>),
        DrawAlphaBlend(DrawAlphaBlend<'a>),
        SurfaceCreate(SurfaceCreate),
        SurfaceDestroy(SurfaceDestroy),
        StreamDataSized(StreamDataSized<'a>),
        MonitorsConfig(MonitorsConfig),
        DrawComposite(DrawComposite<'a>),
        StreamActivateReport(StreamActivateReport),
        GlScanoutUnix(GlScanoutUnix),
        GlDraw(GlDraw),
    }
}

/// What a client says on a display channel.
pub mod client {
    use super::{message, message_set};

    message_set! {
        /// What a client says on a display channel, without what belongs to streams and GL.
        DisplayMessage {
            Init(Init),
            PreferredCompression(PreferredCompression),
        }
    }

    message! {
        /// SPICE_MSGC_DISPLAY_INIT. QEMU crashes without it, with a second one, with a negative window and
        /// with a window above [`Init::GLZ_WINDOW_LIMIT`].
        101 "INIT" Init {
            /// Channels with the same id share their image cache.
            pixmap_cache_id: u8,
            /// Pixels; 0 turns the cache off.
            pixmap_cache_size: i64,
            /// Channels with the same id share their GLZ dictionary.
            glz_dictionary_id: u8,
            /// Pixels; 0 turns GLZ off.
            glz_dictionary_window_size: i32,
        }
    }

    impl Init {
        /// The largest GLZ window a server survives, in pixels.
        pub const GLZ_WINDOW_LIMIT: i32 = 1 << 25;
    }

    message! {
        /// SPICE_MSGC_DISPLAY_STREAM_REPORT: how the frames of a stream arrived.
        102 "STREAM_REPORT" StreamReport {
            /// The stream.
            stream_id: u32,
            /// Number of the activation.
            unique_id: u32,
            /// Time of the first frame.
            start_frame_mm_time: u32,
            /// Time of the last frame.
            end_frame_mm_time: u32,
            /// Frames received.
            num_frames: u32,
            /// How many of them were not shown.
            num_drops: u32,
            /// How early the last frame came, in milliseconds.
            last_frame_delay: i32,
            /// How late sound is, in milliseconds.
            audio_delay: u32,
        }
    }

    impl StreamReport {
        /// There is no sound.
        pub const NO_AUDIO: u32 = u32::MAX;
    }

    message! {
        /// SPICE_MSGC_DISPLAY_PREFERRED_COMPRESSION.
        103 "PREFERRED_COMPRESSION" PreferredCompression {
            /// 1 off, 2 auto GLZ, 3 auto LZ, 4 QUIC, 5 GLZ, 6 LZ, 7 LZ4.
            image_compression: u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::client::{Init, PreferredCompression, StreamReport};
    use super::*;
    use crate::spice::wire::testing::{annotated, check};

    const RECT: Rect = Rect { left: 1, top: 2, right: 3, bottom: 4 };

    #[test]
    fn surface_messages_are_their_bytes() {
        check(
            &Mode { x_res: 640, y_res: 480, bits: 32 },
            101,
            &annotated(
                "80020000 x_res
                 e0010000 y_res
                 20000000 bits",
            ),
        );
        check(&Mark {}, 102, &[]);
        check(&Reset {}, 103, &[]);
        check(
            &SurfaceCreate {
                surface_id: 0,
                width: 640,
                height: 480,
                format: 32,
                flags: SurfaceCreate::PRIMARY,
            },
            314,
            &annotated(
                "00000000 surface_id
                 80020000 width
                 e0010000 height
                 20000000 format
                 01000000 flags",
            ),
        );
        check(&SurfaceDestroy { surface_id: 5 }, 315, &annotated("05000000 surface_id"));
        let head = Head { monitor_id: 1, surface_id: 2, width: 3, height: 4, x: 5, y: 6, flags: 7 };
        check(
            &MonitorsConfig { max_allowed: 1, heads: vec![head] },
            317,
            &annotated(
                "0100 count
                 0100 max_allowed
                 01000000 monitor_id
                 02000000 surface_id
                 03000000 width
                 04000000 height
                 05000000 x
                 06000000 y
                 07000000 flags",
            ),
        );
    }

    #[test]
    fn cache_messages_are_their_bytes() {
        check(
            &InvalList { resources: Elements::of([ResourceId { kind: 1, id: 0x99 }]) },
            105,
            &annotated(
                "0100 count
                 01 type
                 9900000000000000 id",
            ),
        );
        let entry = WaitForChannel { channel_type: 2, channel_id: 1, message_serial: 9 };
        check(
            &InvalAllPixmaps { wait_list: vec![entry] },
            106,
            &annotated(
                "01 count
                 02 channel_type
                 01 channel_id
                 0900000000000000 message_serial",
            ),
        );
        check(&InvalPalette { id: 3 }, 107, &annotated("0300000000000000 id"));
        check(&InvalAllPalettes {}, 108, &[]);
    }

    #[test]
    fn stream_messages_are_their_bytes() {
        check(
            &StreamCreate {
                surface_id: 0,
                id: 1,
                flags: 1,
                codec_type: 1,
                stamp: 2,
                stream_width: 96,
                stream_height: 97,
                src_width: 98,
                src_height: 99,
                dest: RECT,
                clip: Clip::Rects(Elements::of([RECT])),
            },
            122,
            &annotated(
                "00000000 surface_id
                 01000000 id
                 01 flags
                 01 codec_type
                 0200000000000000 stamp
                 60000000 stream_width
                 61000000 stream_height
                 62000000 src_width
                 63000000 src_height
                 02000000010000000400000003000000 dest
                 01 clip_type
                 01000000 clip_count
                 02000000010000000400000003000000 clip_rect",
            ),
        );
        check(
            &StreamData { id: 1, multi_media_time: 2, data: Counted(&[0xff]) },
            123,
            &annotated(
                "01000000 id
                 02000000 multi_media_time
                 01000000 data_size
                 ff data",
            ),
        );
        check(
            &StreamClip { id: 1, clip: Clip::None },
            124,
            &annotated(
                "01000000 id
                 00 clip_type",
            ),
        );
        check(&StreamDestroy { id: 1 }, 125, &annotated("01000000 id"));
        check(&StreamDestroyAll {}, 126, &[]);
        check(
            &StreamDataSized {
                id: 1,
                multi_media_time: 2,
                width: 3,
                height: 4,
                dest: RECT,
                data: Counted(&[5]),
            },
            316,
            &annotated(
                "01000000 id
                 02000000 multi_media_time
                 03000000 width
                 04000000 height
                 02000000010000000400000003000000 dest
                 01000000 data_size
                 05 data",
            ),
        );
        check(
            &StreamActivateReport { stream_id: 1, unique_id: 2, max_window_size: 5, timeout_ms: 1000 },
            319,
            &annotated(
                "01000000 stream_id
                 02000000 unique_id
                 05000000 max_window_size
                 e8030000 timeout_ms",
            ),
        );
    }

    #[test]
    fn gl_messages_are_their_bytes() {
        check(
            &GlScanoutUnix { width: 1, height: 2, stride: 3, drm_fourcc_format: 4, flags: 1 },
            320,
            &annotated(
                "01000000 width
                 02000000 height
                 03000000 stride
                 04000000 drm_fourcc_format
                 01000000 flags",
            ),
        );
        check(
            &GlDraw { x: 1, y: 2, w: 3, h: 4 },
            321,
            &annotated(
                "01000000 x
                 02000000 y
                 03000000 w
                 04000000 h",
            ),
        );
    }

    #[test]
    fn client_messages_are_their_bytes() {
        check(
            &Init {
                pixmap_cache_id: 1,
                pixmap_cache_size: 20 << 20,
                glz_dictionary_id: 1,
                glz_dictionary_window_size: 16 << 20,
            },
            101,
            &annotated(
                "01 pixmap_cache_id
                 0000400100000000 pixmap_cache_size
                 01 glz_dictionary_id
                 00000001 glz_dictionary_window_size",
            ),
        );
        check(
            &StreamReport {
                stream_id: 1,
                unique_id: 2,
                start_frame_mm_time: 3,
                end_frame_mm_time: 4,
                num_frames: 5,
                num_drops: 6,
                last_frame_delay: -7,
                audio_delay: StreamReport::NO_AUDIO,
            },
            102,
            &annotated(
                "01000000 stream_id
                 02000000 unique_id
                 03000000 start_frame_mm_time
                 04000000 end_frame_mm_time
                 05000000 num_frames
                 06000000 num_drops
                 f9ffffff last_frame_delay
                 ffffffff audio_delay",
            ),
        );
        check(&PreferredCompression { image_compression: 1 }, 103, &annotated("01 image_compression"));
    }
}
