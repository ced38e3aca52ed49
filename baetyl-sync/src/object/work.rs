//! Blocking work on the folder of one version, which is held until the work has ended.

use std::io;
use std::sync::Arc;

use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::object::ObjectError;
use baetyl_core_lib::task::{Blocking, blocking};
use tokio::sync::OwnedMutexGuard;

use super::layout::Site;

/// The right to change one version's folder. Jobs keep it: a dropped future leaves its job running, and
/// nobody else may work in the folder meanwhile.
pub(super) struct Work {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) pool: Arc<dyn Blocking>,
    pub(super) held: Arc<OwnedMutexGuard<()>>,
}

impl Work {
    /// Has `job` done; a failure of the disk becomes one of the object at `site`.
    pub(super) async fn disk<T, F>(&self, site: &Site, job: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Disk) -> io::Result<T> + Send + 'static,
    {
        let result = self.run(job).await;
        result.map_err(|error| site.disk(error))?.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => site.full(1, 0),
            _ => site.disk(error),
        })
    }

    /// Has `job` done and gives its result as it is.
    pub(super) async fn run<T, F>(&self, job: F) -> Result<T, baetyl_core_lib::task::Lost>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Disk) -> T + Send + 'static,
    {
        let (disk, held) = (Arc::clone(&self.disk), Arc::clone(&self.held));
        blocking(&*self.pool, move || {
            let result = job(&*disk);
            drop(held);
            result
        })
        .await
    }
}
