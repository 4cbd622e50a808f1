//! What is known of sessions beyond the life of the process: ids that live and ends that were not told. One file of
//! JSON lines, appended to when a session begins, ends or is told of; read whole at the start and written anew when
//! most of it is history.
//!
//! A line is in the page cache before the answer of its call leaves, so `kill -9` loses none. It is not synced: what a
//! power cut loses is told to nobody, and a session a call would be the price.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use par_proto::ids::PackageName;
use serde::{Deserialize, Serialize};

use super::{
    ending::{Ending, Loss},
    key::{Owner, SessionId},
};

/// Lines beyond what is known now after which the file is written anew: about 200 KB of history.
const HISTORY: usize = 2_000;

/// Most bytes that are read at the start; a longer file is not ours.
const LARGEST: u64 = 64 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A session began; without another line it was lost with the process.
    Began(PackageName, SessionId, Owner),
    /// It ended, and nobody was told yet.
    Ended(PackageName, SessionId, Owner, Ending),
    /// Its owner was told, and its id is free.
    Told(PackageName, SessionId),
}

/// An end that was not told before the process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) package: PackageName,
    pub(crate) id: SessionId,
    pub(crate) owner: Owner,
    pub(crate) ending: Ending,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    file: File,
    lines: usize,
    failed: bool,
}

impl Record {
    /// Opens the file and gives what has ended, in the order of the file.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, Vec<Untold>)> {
        let untold = read(&path)?;
        let lines: Vec<Line> = untold.iter().map(Untold::line).collect();
        let file = rewrite(&path, &lines)?;
        Ok((Self { path, file, lines: lines.len(), failed: false }, untold))
    }

    pub(crate) fn began(&mut self, package: &PackageName, id: &SessionId, owner: &Owner) {
        self.append(&Line::Began(package.clone(), id.clone(), owner.clone()));
    }

    pub(crate) fn ended(&mut self, package: &PackageName, id: &SessionId, owner: &Owner, ending: Ending) {
        self.append(&Line::Ended(package.clone(), id.clone(), owner.clone(), ending));
    }

    pub(crate) fn told(&mut self, package: &PackageName, id: &SessionId) {
        self.append(&Line::Told(package.clone(), id.clone()));
    }

    /// Whether so much of it is history that it should be written anew, if `known` lines tell all.
    pub(crate) fn is_long(&self, known: usize) -> bool {
        self.lines > 2 * known + HISTORY
    }

    /// Writes it anew from what lives and what was not told.
    pub(crate) fn compact(
        &mut self,
        lives: impl Iterator<Item = (PackageName, SessionId, Owner)>,
        ends: impl Iterator<Item = Untold>,
    ) {
        let lives = lives.map(|(package, id, owner)| Line::Began(package, id, owner));
        let known: Vec<Line> = lives.chain(ends.map(|end| end.line())).collect();
        match rewrite(&self.path, &known) {
            Ok(file) => (self.file, self.lines) = (file, known.len()),
            Err(error) => self.complain(&error),
        }
    }

    fn append(&mut self, line: &Line) {
        let written = text(line).and_then(|text| self.file.write_all(&text));
        match written {
            Ok(()) => self.lines += 1,
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::error!(
                event = "sessions_unrecorded",
                path = %self.path.display(),
                %error,
                "sessions that live now may be forgotten by a restart"
            );
        }
    }
}

impl Untold {
    fn line(&self) -> Line {
        Line::Ended(self.package.clone(), self.id.clone(), self.owner.clone(), self.ending)
    }
}

fn text(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

/// What the lines come to. One that was cut off by the end of the process is no line.
fn read(path: &Path) -> io::Result<Vec<Untold>> {
    let content = match File::open(path) {
        Ok(file) if file.metadata()?.len() <= LARGEST => io::read_to_string(file).unwrap_or_default(),
        Ok(_) => String::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut known: HashMap<(PackageName, SessionId), (usize, Owner, Ending)> = HashMap::new();
    for (at, line) in content.lines().enumerate() {
        match serde_json::from_str(line) {
            Ok(Line::Began(package, id, owner)) => {
                known.insert((package, id), (at, owner, Ending::Lost(Loss::Shutdown)));
            }
            Ok(Line::Ended(package, id, owner, ending)) => {
                known.insert((package, id), (at, owner, ending));
            }
            Ok(Line::Told(package, id)) => {
                known.remove(&(package, id));
            }
            Err(_) => {}
        }
    }
    let mut untold: Vec<_> = known.into_iter().collect();
    untold.sort_unstable_by_key(|(_, (at, _, _))| *at);
    let untold =
        untold.into_iter().map(|((package, id), (_, owner, ending))| Untold { package, id, owner, ending });
    Ok(untold.collect())
}

/// Written beside, then renamed; what is open afterwards is appended to.
fn rewrite(path: &Path, lines: &[Line]) -> io::Result<File> {
    let beside = path.with_extension("new");
    // Whoever knows the id of a session of a runtime without identity may use it.
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut content = Vec::new();
    for line in lines {
        content.extend(text(line)?);
    }
    file.write_all(&content)?;
    std::fs::rename(&beside, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(package: &str, id: &str) -> (PackageName, SessionId, Owner) {
        (package.parse().unwrap(), id.parse().unwrap(), Owner::Anybody)
    }

    #[test]
    fn what_lived_is_lost_with_the_process_and_what_was_told_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.jsonl");
        let (mut record, untold) = Record::open(path.clone()).unwrap();
        assert_eq!(untold, []);
        for id in ["lives", "ends", "told"] {
            let (package, id, owner) = named("a", id);
            record.began(&package, &id, &owner);
        }
        let (package, ends, owner) = named("a", "ends");
        record.ended(&package, &ends, &owner, Ending::Idle);
        record.told(&package, &"told".parse().unwrap());
        // The process ends in the middle of a line.
        record.file.write_all(b"{\"told\":[\"a\",\"li").unwrap();
        let (mut record, untold) = Record::open(path.clone()).unwrap();
        let endings: Vec<_> = untold.iter().map(|one| (one.id.as_str(), one.ending)).collect();
        assert_eq!(endings, [("lives", Ending::Lost(Loss::Shutdown)), ("ends", Ending::Idle)]);
        record.told(&package, &"lives".parse().unwrap());
        let (_, untold) = Record::open(path).unwrap();
        assert_eq!(untold.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["ends"]);
    }

    #[test]
    fn a_long_history_becomes_what_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.jsonl");
        let (mut record, _) = Record::open(path.clone()).unwrap();
        let (package, id, owner) = named("a", "again");
        while !record.is_long(1) {
            record.began(&package, &id, &owner);
            record.told(&package, &id);
        }
        record.compact(std::iter::once(named("a", "lives")), std::iter::empty());
        assert!(!record.is_long(1));
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < 200, "{size} bytes");
        record.began(&package, &id, &owner);
        assert_eq!(Record::open(path).unwrap().1.len(), 2, "what is appended afterwards is read too");
    }
}
