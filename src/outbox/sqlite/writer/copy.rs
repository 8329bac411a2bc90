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
use crate::outbox::sqlite::backup::copy_fault::CopyFault;
use crate::outbox::sqlite::draft::{beside, create_private, remove_draft};
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
    /// Answers with an error. `needed` is the free space in bytes that the copy needs.
    fn fail(self, fault: CopyFault, needed: u64) {
        let copy = self.to.display();
        match fault {
            CopyFault::NoSpace => {
                tracing::warn!(copy = %copy, needed, "the disk became full during the backup of the store");
                send(self.reply, Ok(Err(CopyRefusal::SpaceEnded { needed })));
            }
            CopyFault::Failed(error) => {
                tracing::warn!(error, copy = %copy, "the backup of the store failed");
                send(self.reply, Err(Error::Failed { doing: "copying" }));
            }
        }
    }

    /// Removes the draft and the incomplete copy that this job has created, and answers with an error. The draft must
    /// be closed.
    fn fail_and_remove(self, fault: CopyFault, needed: u64) {
        for file in [beside(&self.to, "new"), self.to.clone()] {
            if let Err(error) = remove_draft(&file) {
                tracing::warn!(error = %error, file = %file.display(), "an incomplete backup cannot be removed");
            }
        }
        self.fail(fault, needed);
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
        let needed = self.copy_bytes();
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
            Err(error) => job.fail(CopyFault::of_io(&error), needed),
        }
    }

    /// Returns the free space in bytes that a copy of the store needs.
    fn copy_bytes(&self) -> u64 {
        let copies = self.disk.database_bytes().saturating_mul(COPIES);
        copies.saturating_add(INTAKE_BYTES)
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
        let needed = self.copy_bytes();
        let mut draft = match Draft::create(&job.to) {
            Ok(draft) => draft,
            Err(fault) => {
                job.fail_and_remove(fault, needed);
                return Ok(());
            }
        };
        match self.copy_pages(&mut draft, commands)? {
            Ok(()) => finish(job, draft, (needed, in_progress)),
            Err(fault) => {
                drop(draft);
                job.fail_and_remove(fault, needed);
            }
        }
        Ok(())
    }

    fn copy_pages(
        &mut self,
        draft: &mut Draft,
        commands: &Receiver<WriterCommand>,
    ) -> rusqlite::Result<Result<(), CopyFault>> {
        let file = draft.path().to_owned();
        // When a command changes a page that is already in the copy, SQLite writes the change into the copy too.
        let backup = match Backup::new(self.store, &mut draft.connection) {
            Ok(backup) => backup,
            Err(error) => return Ok(Err(CopyFault::of_sqlite(&file, &error))),
        };
        loop {
            self.shared.groups.start();
            let step = backup.step(STEP_PAGES);
            self.shared.groups.finish();
            match step {
                Ok(StepResult::More) => {}
                Ok(StepResult::Done) => return Ok(Ok(())),
                Ok(_locked) => return Ok(Err(failed("the copy is locked"))),
                Err(error) => return Ok(Err(CopyFault::of_sqlite(&file, &error))),
            }
            match commands.try_recv() {
                Ok(first) => self.serve_group(first, commands)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    return Ok(Err(failed("the store was closed during the copy")));
                }
            }
        }
    }
}

fn failed(error: &str) -> CopyFault {
    CopyFault::Failed(error.to_owned())
}

/// Writes the draft into the copy on a separate thread, because the sync of the whole copy takes long.
///
/// `needed` is the free space in bytes that the copy needs.
fn finish(job: CopyJob, draft: Draft, (needed, in_progress): (u64, Arc<()>)) {
    let write = move || {
        match draft.write_into(&job.to) {
            Ok(()) => {
                let CopyJob { to, reply } = job;
                send(reply, Ok(Ok(to)));
            }
            Err(fault) => job.fail_and_remove(fault, needed),
        }
        drop(in_progress);
    };
    let name = "outbox-copy".to_owned();
    if let Err(error) = thread::Builder::new().name(name).spawn(write) {
        tracing::warn!(error = %error, "the backup of the store failed");
    }
}
