//! Brings one object into its part file: from where it broke off, until its digest fits.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use baetyl_core_lib::backoff::Backoff;
use baetyl_core_lib::clock::Random;
use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::error::{BoxError, Chain};
use baetyl_core_lib::object::{ObjectError, OnProgress, Progress};
use bytes::BytesMut;
use tokio::time::{sleep, timeout};

use super::layout::Item;
use super::pace::Pace;
use super::part::Part;
use super::source::{Answer, Ask, Source};
use super::work::Work;

/// How many bytes are written at once.
const PIECE: usize = 256 * 1024;
/// How long a server may send nothing.
const STALL: Duration = Duration::from_secs(60);
/// How often in a row a try may bring nothing before the caller is told.
const TRIES: u32 = 5;
const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(30), factor: 2 };

/// What one download needs.
pub(super) struct Fetch<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) random: &'a dyn Random,
    pub(super) pace: &'a Pace,
    pub(super) work: &'a Work,
    pub(super) item: &'a Item,
    pub(super) part: PathBuf,
    pub(super) max_size: u64,
    pub(super) reserve: u64,
    pub(super) progress: &'a OnProgress,
}

/// Why a try ended.
enum Broken {
    /// The next try may go on from here, or from the start.
    Again(BoxError),
    Failed(ObjectError),
}

impl From<ObjectError> for Broken {
    fn from(error: ObjectError) -> Self {
        Self::Failed(error)
    }
}

impl Fetch<'_> {
    /// Downloads until the part file is whole, durable and has the digests that were told.
    pub(super) async fn run(&self) -> Result<(), ObjectError> {
        // Without a digest nobody could tell what an earlier start left behind.
        let mut part = Some(self.open(self.item.has_digest()).await?);
        let mut resumed = part.as_ref().is_some_and(|part| part.length() > 0);
        loop {
            let here = part.take_if(|part| resumed && self.wrong_digest(part).is_none());
            let whole = match here {
                Some(whole) => whole,
                None => self.download(&mut part).await?,
            };
            let Some(error) = self.wrong_digest(&whole) else {
                return self.disk(move |_| whole.sync()).await;
            };
            drop(whole);
            self.remove().await?;
            if !resumed {
                return Err(error);
            }
            // A power cut may have left anything in the part: only a download in one go is proof.
            let site = &self.item.site;
            tracing::debug!(config = %site.config, object = %site.object, "resumed download is damaged");
            resumed = false;
            part = Some(self.open(false).await?);
        }
    }

    async fn download(&self, slot: &mut Option<Part>) -> Result<Part, ObjectError> {
        let mut failures = 0;
        let mut validator = None;
        loop {
            let before = slot.as_ref().map_or(0, Part::length);
            let Err(broken) = self.attempt(slot, &mut validator).await else {
                // Always there after an attempt that ended well.
                return slot.take().ok_or_else(|| self.item.site.disk("the part file is gone"));
            };
            let error = match broken {
                Broken::Again(error) => error,
                Broken::Failed(error @ ObjectError::TooLarge { .. }) => {
                    // It will never be whole, so its bytes are of no use.
                    self.remove().await?;
                    return Err(error);
                }
                Broken::Failed(error) => return Err(error),
            };
            failures = if slot.as_ref().map_or(0, Part::length) > before { 1 } else { failures + 1 };
            if failures >= TRIES {
                return Err(self.item.site.unreachable(error));
            }
            let site = &self.item.site;
            tracing::warn!(config = %site.config, object = %site.object, error = %Chain(&*error), "download broke off");
            sleep(BACKOFF.delay(failures, self.random.next_u32())).await;
        }
    }

    async fn attempt(&self, slot: &mut Option<Part>, validator: &mut Option<String>) -> Result<(), Broken> {
        let length = slot.as_ref().map_or(0, Part::length);
        let ask = Ask {
            url: self.item.url.clone(),
            token: self.item.object.token.clone(),
            from: length,
            validator: validator.clone(),
        };
        let answer = timeout(STALL, self.source.open(ask)).await;
        let mut answer = answer.map_err(|_| stalled())?.map_err(Broken::Again)?;
        let length = match answer.status {
            206 if answer.start == length => length,
            200 if length == 0 => 0,
            200 => self.clear(slot).await.map(|()| 0)?,
            206 | 416 if length > 0 => {
                self.clear(slot).await?;
                return Err(Broken::Again("the server does not have the rest of what is here".into()));
            }
            status @ (408 | 425 | 429 | 500..=599) => {
                return Err(Broken::Again(format!("the server answered {status}").into()));
            }
            status => return Err(Broken::Failed(self.item.rejected(status))),
        };
        validator.clone_from(&answer.validator);
        if let Some(total) = answer.total {
            self.check_size(total)?;
            self.check_room(total.saturating_sub(length)).await?;
        }
        self.receive(slot, &mut answer).await
    }

    async fn receive(&self, slot: &mut Option<Part>, answer: &mut Answer) -> Result<(), Broken> {
        let mut buffer = BytesMut::with_capacity(PIECE);
        let mut length = self.tell(slot, answer.total);
        loop {
            let chunk = match timeout(STALL, answer.body.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => {
                    self.write(slot, &mut buffer).await?;
                    return Err(Broken::Again(error));
                }
                Err(_) => {
                    self.write(slot, &mut buffer).await?;
                    return Err(stalled());
                }
            };
            let Some(chunk) = chunk else { break };
            length = length.saturating_add(chunk.len() as u64);
            self.check_size(length)?;
            buffer.extend_from_slice(&chunk);
            if buffer.len() >= PIECE {
                self.write(slot, &mut buffer).await?;
                self.tell(slot, answer.total);
            }
        }
        self.write(slot, &mut buffer).await?;
        self.tell(slot, answer.total);
        match answer.total {
            Some(total) if total != length => Err(Broken::Again("the answer ended early".into())),
            _ => Ok(()),
        }
    }

    /// Tells of progress; gives the bytes that are here.
    fn tell(&self, slot: &Option<Part>, total: Option<u64>) -> u64 {
        let done = slot.as_ref().map_or(0, Part::length);
        (self.progress)(Progress { done, total });
        done
    }

    async fn write(&self, slot: &mut Option<Part>, buffer: &mut BytesMut) -> Result<(), ObjectError> {
        if buffer.is_empty() {
            return Ok(());
        }
        let bytes = buffer.split().freeze();
        let length = bytes.len() as u64;
        self.check_room(length).await?;
        self.change(slot, move |part| part.append(&bytes)).await?;
        self.pace.take(length).await;
        Ok(())
    }

    async fn clear(&self, slot: &mut Option<Part>) -> Result<(), ObjectError> {
        self.change(slot, Part::clear).await
    }

    /// Has blocking work done on the part, which is given away and comes back.
    async fn change<F>(&self, slot: &mut Option<Part>, job: F) -> Result<(), ObjectError>
    where
        F: FnOnce(&mut Part) -> io::Result<()> + Send + 'static,
    {
        let Some(mut part) = slot.take() else { return Err(self.item.site.disk("the part file is gone")) };
        let part = self.disk(move |_| job(&mut part).map(|()| part)).await?;
        *slot = Some(part);
        Ok(())
    }

    async fn open(&self, keep: bool) -> Result<Part, ObjectError> {
        let (path, mode) = (self.part.clone(), self.item.mode);
        self.disk(move |disk| Part::open(disk, &path, mode, keep)).await
    }

    async fn remove(&self) -> Result<(), ObjectError> {
        let path = self.part.clone();
        self.disk(move |disk| disk.remove_file(&path)).await
    }

    fn check_size(&self, size: u64) -> Result<(), ObjectError> {
        if size > self.max_size { Err(self.item.site.too_large(self.max_size)) } else { Ok(()) }
    }

    async fn check_room(&self, needed: u64) -> Result<(), ObjectError> {
        let (path, reserve) = (self.part.clone(), self.reserve);
        let room = self.disk(move |disk| disk.room(path.parent().unwrap_or(&path))).await?;
        let room = room.saturating_sub(reserve);
        if needed > room { Err(self.item.site.full(needed, room)) } else { Ok(()) }
    }

    fn wrong_digest(&self, part: &Part) -> Option<ObjectError> {
        let (md5, sha256) = part.digests();
        let told = &self.item.object;
        [("md5", &told.md5, md5), ("sha256", &told.sha256, sha256)]
            .into_iter()
            .find(|(_, told, found)| !told.is_empty() && !told.eq_ignore_ascii_case(found))
            .map(|(algorithm, told, found)| ObjectError::WrongDigest {
                config: self.item.site.config.clone(),
                object: self.item.site.object.clone(),
                algorithm,
                expected: told.clone(),
                found,
            })
    }

    async fn disk<T, F>(&self, job: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Disk) -> io::Result<T> + Send + 'static,
    {
        self.work.disk(&self.item.site, job).await
    }
}

fn stalled() -> Broken {
    Broken::Again(format!("the server sent nothing for {} s", STALL.as_secs()).into())
}
