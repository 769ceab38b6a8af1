//! The two files of a log.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use unknot_api::work::Note;

use super::{LOG_FILE, LOG_PART_BYTES};
use crate::files;

const TAIL_FILE: &str = "log.tail";

/// The files of one log.
#[derive(Debug)]
pub(super) struct LogFile {
    folder: PathBuf,
    head: Option<File>,
    head_bytes: u64,
    tail: Option<File>,
    tail_bytes: u64,
    lost_bytes: u64,
    error: Option<io::Error>,
}

impl LogFile {
    /// A log whose file is made with its first use.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, head: None, head_bytes: 0, tail: None, tail_bytes: 0, lost_bytes: 0, error: None }
    }

    /// Makes the file, in place of whatever is there.
    pub(super) fn open(&mut self) {
        let opened = open_once(&mut self.head, &self.folder, LOG_FILE).map(drop);
        self.note_loss(opened, 0);
    }

    /// Says at its place that something is missing.
    pub(super) fn mark_hole(&mut self, hole_bytes: u64) {
        if hole_bytes > 0 {
            self.write(format!("\n[… {hole_bytes} bytes lost: the disk was too slow …]\n").as_bytes());
        }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        let room = usize::try_from(LOG_PART_BYTES - self.head_bytes).unwrap_or(usize::MAX).min(bytes.len());
        if room > 0 {
            let (first, rest) = bytes.split_at(room);
            let result = self.write_head(first);
            self.note_loss(result, first.len());
            bytes = rest;
        }
        if !bytes.is_empty() {
            let result = self.write_tail(bytes);
            self.note_loss(result, bytes.len());
        }
    }

    fn note_loss(&mut self, result: io::Result<()>, length: usize) {
        if let Err(error) = result {
            self.lost_bytes += length as u64;
            self.error = Some(error);
        }
    }

    /// Writes at a fixed place, so that a part that failed half-way is not in the way of the next.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        let head = open_once(&mut self.head, &self.folder, LOG_FILE)?;
        head.write_all_at(bytes, self.head_bytes)?;
        self.head_bytes += bytes.len() as u64;
        Ok(())
    }

    fn write_tail(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let tail = open_once(&mut self.tail, &self.folder, TAIL_FILE)?;
        while !bytes.is_empty() {
            let at = self.tail_bytes % LOG_PART_BYTES;
            let room = usize::try_from(LOG_PART_BYTES - at).unwrap_or(usize::MAX).min(bytes.len());
            tail.write_all_at(&bytes[..room], at)?;
            self.tail_bytes += room as u64;
            bytes = &bytes[room..];
        }
        Ok(())
    }

    /// Puts the tail behind the head, and closes both.
    pub(super) fn close(&mut self) -> Vec<Note> {
        self.open();
        let omitted_bytes = self.tail_bytes.saturating_sub(LOG_PART_BYTES);
        if self.tail_bytes > 0
            && let Err(error) = self.append_tail(omitted_bytes)
        {
            let in_tail = self.tail_bytes.min(LOG_PART_BYTES);
            self.note_loss(Err(error), usize::try_from(in_tail).unwrap_or(usize::MAX));
        }
        let is_there = self.head.take().is_some();
        self.tail = None;
        let mut notes = Vec::new();
        if omitted_bytes > 0 {
            notes.push(Note::LogCut { omitted_bytes });
        }
        // A disk that failed and was well again before anything was lost is no news.
        if let Some(error) = self.error.take().filter(|_| self.lost_bytes > 0 || !is_there) {
            let lost = self.lost_bytes;
            notes.push(Note::LogFailed { message: format!("{lost} bytes are missing in `{LOG_FILE}`: {error}") });
        }
        notes
    }

    fn append_tail(&mut self, omitted_bytes: u64) -> io::Result<()> {
        let (Some(head), Some(tail)) = (&mut self.head, &mut self.tail) else { return Ok(()) };
        head.seek(SeekFrom::Start(self.head_bytes))?;
        let mut split = 0;
        if omitted_bytes > 0 {
            write!(head, "\n[… {omitted_bytes} bytes left out …]\n")?;
            split = self.tail_bytes % LOG_PART_BYTES;
        }
        tail.seek(SeekFrom::Start(split))?;
        io::copy(tail, head)?;
        tail.seek(SeekFrom::Start(0))?;
        io::copy(&mut tail.take(split), head)?;
        fs::remove_file(self.folder.join(TAIL_FILE))
    }
}

/// The file, opened now if that has not worked yet: a disk that was full may have room again.
fn open_once<'a>(file: &'a mut Option<File>, folder: &Path, name: &str) -> io::Result<&'a mut File> {
    match file {
        Some(file) => Ok(file),
        None => Ok(file.insert(files::replace(folder, name)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(chunks: &[Vec<u8>]) -> (Vec<u8>, Vec<Note>) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path().to_owned());
        chunks.iter().for_each(|chunk| log.write(chunk));
        let notes = log.close();
        let text = fs::read(folder.path().join(LOG_FILE)).unwrap();
        assert!(!folder.path().join(TAIL_FILE).exists());
        (text, notes)
    }

    /// Bytes of which each tells its place.
    fn numbered(from: u64, length: u64) -> Vec<u8> {
        (from..from + length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn a_log_that_fits_is_whole() {
        let part = LOG_PART_BYTES;
        for length in [0, 1, part - 1, part, part + 1, 2 * part] {
            let (text, notes) = logged(&[numbered(0, length)]);
            assert!(text == numbered(0, length), "{length}");
            assert_eq!(notes, []);
        }
    }

    #[test]
    fn of_a_longer_one_the_middle_is_left_out() {
        let part = LOG_PART_BYTES;
        let length = 3 * part + 12_345;
        let bytes = numbered(0, length);
        let chunks: Vec<Vec<u8>> = bytes.chunks(65_536).map(<[u8]>::to_vec).collect();
        let (text, notes) = logged(&chunks);
        let omitted_bytes = length - 2 * part;
        assert_eq!(notes, [Note::LogCut { omitted_bytes }]);
        assert!(text.starts_with(&bytes[..part as usize]));
        assert!(text.ends_with(&bytes[(length - part) as usize..]));
        let mark = format!("\n[… {omitted_bytes} bytes left out …]\n");
        assert_eq!(&text[part as usize..part as usize + mark.len()], mark.as_bytes());
    }

    /// A pipe in its place would fill up and hold up the logs of all attempts; a link would lead out of the folder.
    #[test]
    fn what_stands_where_a_log_should_be_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (log, tail) = (folder.path().join(LOG_FILE), folder.path().join(TAIL_FILE));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let stranger = folder.path().join("stranger");
        fs::write(&stranger, "precious").unwrap();
        std::os::unix::fs::symlink(&stranger, &tail).unwrap();
        let mut log_file = LogFile::new(folder.path().to_owned());
        let bytes = numbered(0, LOG_PART_BYTES + 5);
        log_file.write(&bytes);
        assert_eq!(log_file.close(), []);
        assert!(fs::read(log).unwrap() == bytes);
        assert_eq!(fs::read_to_string(stranger).unwrap(), "precious");
    }

    #[test]
    fn a_log_without_a_folder_is_a_note() {
        let mut log = LogFile::new("/nonexistent/folder".into());
        log.write(b"hello");
        assert!(matches!(&log.close()[..], [Note::LogFailed { message }] if message.starts_with("5 bytes")));
    }
}
