//! Reading and making the fixed parts of segment files, with errors that name file and byte.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, read_up_to, to_u64, write_all};
use super::format::{
    META_MAGIC, SEGMENT_HEADER_FIXED_BYTES, TRAILER_BYTES, VERSION, parse_segment_name,
};
use super::meta::{self, Meta, MetaDefect};
use super::scan::ScanError;
use super::segment::{Footer, HeaderDefect, SegmentHeader, Trailer};
use crate::OpenError;

/// A `meta` file larger than this is not read: 4096 readers of some hundred partitions fit.
const META_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// What the start of a file says about the segment.
pub(super) enum Header {
    /// A whole header.
    Whole(SegmentHeader),
    /// The file ends within the header or right after it: it was being made.
    Unfinished,
    /// Something else.
    Defect(HeaderDefect),
}

/// An error about a file.
pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { what, path, source }
}

/// Damage at a byte of a file.
pub(super) fn corrupt_at(path: &Path, at: u64, what: impl std::fmt::Display) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), what: format!("byte {at}: {what}") }
}

/// A scan that ended early, as an error of opening.
pub(super) fn scan_error(path: &Path) -> impl FnOnce(ScanError) -> OpenError {
    let path = path.to_owned();
    move |error| match error {
        ScanError::Io(source) => OpenError::Io { what: "read", path, source },
        ScanError::Defect { at, defect } => corrupt_at(&path, at, defect),
    }
}

/// The numbers of the first records of all segments, sorted, and whether there is a `meta` file.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<(Vec<u64>, bool), OpenError> {
    let names = disk.list(dir).map_err(io_error("list", dir))?;
    let mut segments: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    segments.sort_unstable();
    Ok((segments, names.iter().any(|name| name == meta::FILE_NAME)))
}

/// Reads the `meta` file.
pub(super) fn read_meta(disk: &dyn Disk, dir: &Path) -> Result<Meta, OpenError> {
    let path = dir.join(meta::FILE_NAME);
    let failed = io_error("read", &path);
    let bytes = disk
        .open(&path)
        .and_then(|file| read_up_to(&*file, 0, file_length(&*file)?))
        .map_err(failed)?;
    Meta::parse(&bytes).map_err(|defect| match defect {
        MetaDefect::Damaged if bytes.starts_with(&META_MAGIC) => {
            corrupt_at(&path, 0, "the checksum does not match")
        }
        MetaDefect::Damaged => corrupt_at(&path, 0, "this is not the description of a stream"),
        MetaDefect::Version(version) => other_version(&path, version),
    })
}

fn file_length(file: &dyn DiskFile) -> io::Result<usize> {
    let length = usize::try_from(file.bytes()?).unwrap_or(usize::MAX);
    Ok(length.min(META_LIMIT_BYTES))
}

/// A file of a format that this program does not know.
pub(super) fn other_version(path: &Path, version: u32) -> OpenError {
    let what = format!(
        "the format has version {version}, this program reads version {VERSION}: \
         use the keyferry that wrote it"
    );
    OpenError::Corrupt { path: path.to_owned(), what }
}

/// Reads the header of a segment.
pub(super) fn read_header(file: &dyn DiskFile, partitions: usize) -> io::Result<Header> {
    let length = SEGMENT_HEADER_FIXED_BYTES + 8 * partitions;
    let bytes = read_up_to(file, 0, length)?;
    Ok(match SegmentHeader::parse(&bytes) {
        Ok(header) => Header::Whole(header),
        Err(HeaderDefect::Damaged) if file.bytes()? <= to_u64(length) => Header::Unfinished,
        Err(defect) => Header::Defect(defect),
    })
}

/// Reads the trailer of a sealed segment; `None` when the file does not end with one.
pub(super) fn read_trailer(file: &dyn DiskFile, salt: u32) -> io::Result<Option<Trailer>> {
    let length = file.bytes()?;
    let Some(position) = length.checked_sub(to_u64(TRAILER_BYTES)) else { return Ok(None) };
    let bytes = read_up_to(file, position, TRAILER_BYTES)?;
    let trailer = bytes.first_chunk().and_then(|bytes| Trailer::parse(bytes, salt));
    Ok(trailer.filter(|trailer| u64::from(trailer.footer_len) <= length))
}

/// Reads the footer of the segment with this header; `None` when it is damaged.
pub(super) fn read_footer(
    file: &dyn DiskFile,
    salt: u32,
    header: &SegmentHeader,
) -> io::Result<Option<Footer>> {
    let Some(trailer) = read_trailer(file, salt)? else { return Ok(None) };
    let position = file.bytes()?.saturating_sub(u64::from(trailer.footer_len));
    let length = usize::try_from(trailer.footer_len).unwrap_or(usize::MAX);
    let footer = Footer::parse(&read_up_to(file, position, length)?, salt);
    // The end of a payload may be the footer of an older segment, stored as a value; that one does
    // not begin with this segment's first frame.
    let first = header.first_mark();
    Ok(footer.filter(|footer| footer.marks.first() == Some(&first)))
}

/// Makes a segment without frames, whole and durable when it returns.
pub(super) fn create_segment(
    disk: &dyn Disk,
    path: &Path,
    header: &SegmentHeader,
) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(path)?;
    write_all(&*file, &header.encode(), 0)?;
    file.sync()?;
    if let Some(dir) = path.parent() {
        disk.sync_dir(dir)?;
    }
    Ok(file)
}
