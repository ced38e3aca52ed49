//! What a [`super::MemoryDisk`] holds: a tree of nodes, each with what was written and what was synced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Call, Place, Tear};

const ROOT: u64 = 0;
const SECTOR: usize = 512;

#[derive(Debug)]
pub(super) struct State {
    pub(super) nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Names that were changed and not synced; each group is there whole or not at all.
    renamed: Vec<Vec<Naming>>,
    pub(super) trace: Vec<Call>,
    pub(super) cut: Option<usize>,
    pub(super) fault: Option<(usize, ErrorKind)>,
    pub(super) off: bool,
    pub(super) size: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File { data: Vec<u8>, synced: Vec<u8>, pending: Vec<Pending>, mode: u32, locked: bool },
    Folder { names: BTreeMap<OsString, u64>, synced: BTreeMap<OsString, u64>, mode: u32 },
    Link(PathBuf),
}

/// A change of a file's content.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    Bytes(u64, Vec<u8>),
    Size(u64),
}

/// Folder, name, and what the name is for from now on.
type Naming = (u64, OsString, Option<u64>);

/// Whether the power is cut during this call.
#[must_use]
pub(super) struct Cut(pub(super) bool);

impl Cut {
    pub(super) fn done<T>(&self, value: T) -> io::Result<T> {
        if self.0 { Err(no_power()) } else { Ok(value) }
    }
}

fn no_power() -> io::Error {
    io::Error::other("power of the disk is cut")
}

impl Node {
    pub(super) const fn file(mode: u32) -> Self {
        Self::File { data: Vec::new(), synced: Vec::new(), pending: Vec::new(), mode, locked: false }
    }

    pub(super) const fn folder(mode: u32) -> Self {
        Self::Folder { names: BTreeMap::new(), synced: BTreeMap::new(), mode }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::folder(0o755))]),
            next: ROOT + 1,
            renamed: Vec::new(),
            trace: Vec::new(),
            cut: None,
            fault: None,
            off: false,
            size: u64::MAX,
        }
    }
}

impl State {
    pub(super) fn powered(&self) -> io::Result<()> {
        if self.off { Err(no_power()) } else { Ok(()) }
    }

    /// Records a call and tells whether the power is cut during it.
    pub(super) fn call(&mut self, call: Call) -> io::Result<Cut> {
        self.powered()?;
        let number = self.trace.len();
        self.trace.push(call);
        if let Some((_, kind)) = self.fault.take_if(|(at, _)| *at == number) {
            return Err(kind.into());
        }
        self.off = self.cut == Some(number);
        Ok(Cut(self.off))
    }

    /// The node at a path. The last component is followed only where asked for.
    pub(super) fn walk(&self, path: &Path, follow: bool) -> io::Result<u64> {
        let parts = |path: &Path| path.iter().map(OsString::from).collect::<VecDeque<_>>();
        let mut todo = parts(path);
        let mut at = vec![ROOT];
        let mut hops = 0;
        while let Some(part) = todo.pop_front() {
            let here = at.last().copied().unwrap_or(ROOT);
            if part == "/" {
                at.truncate(1);
            } else if part == ".." {
                at.truncate(at.len().saturating_sub(1).max(1));
            } else if part != "." {
                let next = *self.names(here)?.get(&part).ok_or(ErrorKind::NotFound)?;
                match self.nodes.get(&next) {
                    Some(Node::Link(target)) if follow || !todo.is_empty() => {
                        hops += 1;
                        if hops > 40 {
                            return Err(io::Error::other("too many links"));
                        }
                        let mut rest = parts(target);
                        rest.append(&mut todo);
                        todo = rest;
                    }
                    _ => at.push(next),
                }
            }
        }
        Ok(at.last().copied().unwrap_or(ROOT))
    }

    /// Folder and name of a path, whether something is there or not.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        let folder = self.walk(path.parent().unwrap_or(Path::new("")), true)?;
        self.names(folder)?;
        Ok((folder, name))
    }

    pub(super) fn names(&self, folder: u64) -> io::Result<&BTreeMap<OsString, u64>> {
        match self.nodes.get(&folder) {
            Some(Node::Folder { names, .. }) => Ok(names),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn content(&self, file: u64) -> io::Result<&[u8]> {
        match self.nodes.get(&file) {
            Some(Node::File { data, .. }) => Ok(data),
            _ => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        let (folder, name) = self.place(path)?;
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.name(vec![(folder, name, Some(id))])?;
        Ok(id)
    }

    /// Changes names, together.
    pub(super) fn name(&mut self, group: Vec<Naming>) -> io::Result<()> {
        for (folder, name, id) in &group {
            let Some(Node::Folder { names, .. }) = self.nodes.get_mut(folder) else {
                return Err(ErrorKind::NotADirectory.into());
            };
            set(names, name, *id);
        }
        self.renamed.push(group);
        Ok(())
    }

    /// Everything below a folder, from below.
    pub(super) fn below(&self, folder: u64) -> Vec<Place> {
        let mut found = Vec::new();
        if let Ok(names) = self.names(folder) {
            for (name, id) in names {
                found.extend(self.below(*id));
                found.push((folder, name.clone()));
            }
        }
        found
    }

    /// Makes a folder's names durable, and earlier changes of the same names in other folders with them.
    pub(super) fn sync_names(&mut self, folder: u64) {
        let mut touched: BTreeSet<Place> = BTreeSet::new();
        let mut chosen = Vec::new();
        let mut rest = Vec::new();
        for group in std::mem::take(&mut self.renamed).into_iter().rev() {
            let of = |(at, name, _): &Naming| *at == folder || touched.contains(&(*at, name.clone()));
            if group.iter().any(of) {
                touched.extend(group.iter().map(|(at, name, _)| (*at, name.clone())));
                chosen.push(group);
            } else {
                rest.push(group);
            }
        }
        rest.reverse();
        self.renamed = rest;
        for group in chosen.into_iter().rev() {
            self.keep_names(group);
        }
    }

    fn keep_names(&mut self, group: Vec<Naming>) {
        for (folder, name, id) in group {
            if let Some(Node::Folder { synced, .. }) = self.nodes.get_mut(&folder) {
                set(synced, &name, id);
            }
        }
    }

    pub(super) fn write(&mut self, file: u64, change: Pending) -> io::Result<()> {
        let old = self.content(file)?.len() as u64;
        let new = match &change {
            Pending::Bytes(offset, bytes) => old.max(offset + bytes.len() as u64),
            Pending::Size(size) => *size,
        };
        if new > old && new - old > self.room() {
            return Err(ErrorKind::StorageFull.into());
        }
        if let Some(Node::File { data, pending, .. }) = self.nodes.get_mut(&file) {
            apply(data, &change);
            pending.push(change);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, file: u64) {
        if let Some(Node::File { synced, pending, .. }) = self.nodes.get_mut(&file) {
            for change in pending.drain(..) {
                apply(synced, &change);
            }
        }
    }

    pub(super) fn room(&self) -> u64 {
        let mut used = 0;
        for (folder, name) in self.below(ROOT) {
            let id = self.names(folder).ok().and_then(|names| names.get(&name));
            used += id.and_then(|id| self.content(*id).ok()).map_or(0, <[u8]>::len) as u64;
        }
        self.size.saturating_sub(used)
    }

    /// Takes a file's lock, unless somebody has it.
    pub(super) fn take(&mut self, file: u64) -> bool {
        match self.nodes.get_mut(&file) {
            Some(Node::File { locked, .. }) => !std::mem::replace(locked, true),
            _ => false,
        }
    }

    pub(super) fn give(&mut self, file: u64) {
        if let Some(Node::File { locked, .. }) = self.nodes.get_mut(&file) {
            *locked = false;
        }
    }

    /// The disk after a power cut.
    pub(super) fn crash(&self, tear: Tear) -> Self {
        let mut dice = Dice(match tear {
            Tear::Torn(seed) => seed.wrapping_mul(2_654_435_769) | 1,
            Tear::Lost | Tear::Kept => 1,
        });
        let mut after = Self { next: self.next, size: self.size, ..Self::default() };
        after.nodes.clone_from(&self.nodes);
        for group in &self.renamed {
            if dice.keeps(tear) {
                after.keep_names(group.clone());
            }
        }
        for node in after.nodes.values_mut() {
            match node {
                Node::File { data, synced, pending, locked, .. } => {
                    for change in pending.drain(..) {
                        tear_change(synced, change, tear, &mut dice);
                    }
                    data.clone_from(synced);
                    *locked = false;
                }
                Node::Folder { names, synced, .. } => names.clone_from(synced),
                Node::Link(_) => {}
            }
        }
        after
    }
}

fn tear_change(synced: &mut Vec<u8>, change: Pending, tear: Tear, dice: &mut Dice) {
    match change {
        Pending::Bytes(offset, bytes) if matches!(tear, Tear::Torn(_)) => {
            let mut offset = offset;
            let mut rest = bytes.as_slice();
            // Half of the writes are whole or not there at all.
            let whole = dice.roll(2) == 0;
            let fate = dice.keeps(tear);
            while !rest.is_empty() {
                let to_border = SECTOR - usize::try_from(offset).unwrap_or(0) % SECTOR;
                let (sector, later) = rest.split_at(to_border.min(rest.len()));
                if if whole { fate } else { dice.keeps(tear) } {
                    apply(synced, &Pending::Bytes(offset, sector.to_vec()));
                }
                offset += sector.len() as u64;
                rest = later;
            }
        }
        change => {
            if dice.keeps(tear) {
                apply(synced, &change);
            }
        }
    }
}

fn apply(data: &mut Vec<u8>, change: &Pending) {
    let index = |offset: &u64| usize::try_from(*offset).unwrap_or(usize::MAX);
    match change {
        Pending::Bytes(offset, bytes) => {
            let from = index(offset);
            let to = from.saturating_add(bytes.len());
            if data.len() < to {
                data.resize(to, 0);
            }
            data[from..to].copy_from_slice(bytes);
        }
        Pending::Size(size) => data.resize(index(size), 0),
    }
}

fn set(names: &mut BTreeMap<OsString, u64>, name: &OsString, id: Option<u64>) {
    match id {
        Some(id) => drop(names.insert(name.clone(), id)),
        None => drop(names.remove(name)),
    }
}

/// A small generator: the same seed tears the same way.
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) % sides
    }

    fn keeps(&mut self, tear: Tear) -> bool {
        match tear {
            Tear::Lost => false,
            Tear::Kept => true,
            Tear::Torn(_) => self.roll(2) == 0,
        }
    }
}
