//! Copies of the open store. The writer thread copies a few pages after each group of commands, so the bridge accepts
//! and delivers events during the copy.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;

use rusqlite::backup::{Backup, StepResult};

use super::Writer;
use super::job::{Reply, WriterCommand, send};
use crate::outbox::reserve::INTAKE_BYTES;
use crate::outbox::sqlite::backup::Draft;
use crate::outbox::sqlite::draft::{create_private, remove_draft};
use crate::outbox::{CopyRefusal, Error};

/// The number of pages that the writer thread copies between two groups of commands: 1 MiB. Copying 1 MiB takes
/// milliseconds.
const STEP_PAGES: i32 = 256;

/// The number of copies that exist at once at the end of a backup: the draft, and the final copy without the remains of
/// erased entries.
const COPIES: u64 = 2;

/// A command to copy the store into a new file.
pub(in crate::outbox::sqlite) struct CopyJob {
    pub(in crate::outbox::sqlite) to: PathBuf,
    pub(in crate::outbox::sqlite) reply: Reply<Result<PathBuf, CopyRefusal>>,
}

impl CopyJob {
    fn fail(self, error: &str) {
        tracing::warn!(error, copy = %self.to.display(), "the backup of the store failed");
        send(self.reply, Err(Error::Failed { doing: "copying" }));
    }

    /// Removes the incomplete copy that this job has created, and answers with an error.
    fn fail_and_remove(self, error: &str) {
        drop(remove_draft(&self.to));
        self.fail(error);
    }
}

impl Writer<'_> {
    /// Accepts the command to copy the store. Refuses the command if a copy is in progress or the disk has too little
    /// space.
    pub(super) fn begin_copy(&mut self, job: CopyJob) {
        if Arc::strong_count(&self.copying) > 1 {
            send(job.reply, Ok(Err(CopyRefusal::Running)));
            return;
        }
        let copies = self.disk.database_bytes().saturating_mul(COPIES);
        let needed = copies.saturating_add(INTAKE_BYTES);
        if let Some(free) = self.disk.free()
            && free < needed
        {
            send(job.reply, Ok(Err(CopyRefusal::NoSpace { needed, free })));
            return;
        }
        match create_private(&job.to) {
            Ok(_created) => self.copy = Some((job, Arc::clone(&self.copying))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                send(job.reply, Ok(Err(CopyRefusal::Exists)));
            }
            Err(error) => job.fail(&error.to_string()),
        }
    }

    /// Copies the store, and serves other commands between the steps of the copy. Returns an error only if the store
    /// cannot continue.
    ///
    /// While the copy is in progress, `in_progress` exists.
    pub(super) fn copy(
        &mut self,
        (job, in_progress): (CopyJob, Arc<()>),
        commands: &Receiver<WriterCommand>,
    ) -> rusqlite::Result<()> {
        let mut draft = match Draft::create(&job.to) {
            Ok(draft) => draft,
            Err(error) => {
                job.fail_and_remove(&error);
                return Ok(());
            }
        };
        match self.copy_pages(&mut draft, commands)? {
            Ok(()) => finish(job, draft, in_progress),
            Err(error) => job.fail_and_remove(&error),
        }
        Ok(())
    }

    fn copy_pages(
        &mut self,
        draft: &mut Draft,
        commands: &Receiver<WriterCommand>,
    ) -> rusqlite::Result<Result<(), String>> {
        // When a command changes a page that is already in the copy, SQLite writes the change into the copy too.
        let backup = match Backup::new(self.store, &mut draft.connection) {
            Ok(backup) => backup,
            Err(error) => return Ok(Err(error.to_string())),
        };
        loop {
            self.shared.groups.start();
            let step = backup.step(STEP_PAGES);
            self.shared.groups.finish();
            match step {
                Ok(StepResult::More) => {}
                Ok(StepResult::Done) => return Ok(Ok(())),
                Ok(_locked) => return Ok(Err("the copy is locked".to_owned())),
                Err(error) => return Ok(Err(error.to_string())),
            }
            match commands.try_recv() {
                Ok(first) => self.serve_group(first, commands)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    return Ok(Err("the store was closed during the copy".to_owned()));
                }
            }
        }
    }
}

/// Writes the draft into the copy on a separate thread, because the sync of the whole copy takes long.
fn finish(job: CopyJob, draft: Draft, in_progress: Arc<()>) {
    let write = move || {
        match draft.write_into(&job.to) {
            Ok(()) => {
                let CopyJob { to, reply } = job;
                send(reply, Ok(Ok(to)));
            }
            Err(error) => job.fail_and_remove(&error),
        }
        drop(in_progress);
    };
    let name = "outbox-copy".to_owned();
    if let Err(error) = thread::Builder::new().name(name).spawn(write) {
        tracing::warn!(error = %error, "the backup of the store failed");
    }
}
