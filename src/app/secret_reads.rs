//! Reads secret files again, on threads of their own.
//!
//! A read of a file can hang, for example on a network disk. Then only this file keeps its state: the bridge goes on
//! without the answer, and reads the other files on another thread.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::held_secret::{SecretChange, SecretFileError, SecretRead};
use super::listeners::yield_to_delivery;
use super::reread::Rereads;
use super::secret_file::SecretFile;
use crate::metrics::SecretKind;

/// The time between the two reads of a new secret. A program needs less time to write a short file.
const CONFIRM_AFTER: Duration = Duration::from_millis(500);
/// The time that a secret file has to respond. A secret file is short, and a disk that works responds within
/// milliseconds.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(5);
/// The time that each further file has to respond after a file that did not respond. The files are often on the same disk.
const NEXT_DEADLINE: Duration = Duration::from_millis(100);

impl Rereads {
    /// Reads secret files again, counts the files with a flaw, and decides for each file which secret is in use. Returns
    /// whether a secret in use has changed.
    ///
    /// A secret changes only after two equal reads: at the first read, another program has possibly written only a part
    /// of the file.
    pub(super) async fn read_secrets(&self, kind: SecretKind, files: &[Arc<SecretFile>]) -> bool {
        let first = read_all(files, READ_DEADLINE).await;
        let flaws = first.iter().filter(|read| read.is_err()).count();
        self.metrics().failed(kind, flaws);
        if let Some(oldest) = files.iter().filter_map(|file| file.modified()).min() {
            self.metrics().modified(kind, oldest);
        }
        let usable = files.iter().zip(&first).filter(|(_, read)| read.is_ok());
        usable.for_each(|(file, _)| file.was_read(self.moment()));
        let pairs = files.iter().zip(first);
        let differing = pairs.filter(|(file, read)| file.held().differs(read));
        // A file that does not respond would not respond to a second read either.
        let (silent, differing): (Vec<_>, Vec<_>) =
            differing.partition(|(_, read)| matches!(read, Err(SecretFileError::Silent(_))));
        for (file, read) in silent {
            file.step(&read, &read, self.moment());
        }
        if differing.is_empty() {
            return false;
        }
        // Another process writes the file, so the wait uses real time and not the clock of the bridge, which tests control.
        sleep(CONFIRM_AFTER).await;
        let files: Vec<_> = differing.iter().map(|(file, _)| Arc::clone(file)).collect();
        let second = read_all(&files, READ_DEADLINE).await;
        let now = self.moment();
        let mut is_changed = false;
        for ((file, first), second) in differing.iter().zip(&second) {
            let change = file.step(first, second, now);
            is_changed |= matches!(change, SecretChange::Replaced | SecretChange::Ended);
        }
        is_changed
    }
}

/// Reads each file. A file that does not respond in time gets the flaw [`SecretFileError::Silent`].
async fn read_all(files: &[Arc<SecretFile>], mut deadline: Duration) -> Vec<SecretRead> {
    let mut reads = Vec::with_capacity(files.len());
    while let Some(rest) = files.get(reads.len()..).filter(|rest| !rest.is_empty()) {
        let mut results = match start_reading(rest.to_vec()) {
            Ok(results) => results,
            Err(error) => {
                tracing::error!(error = %error, "cannot start the thread that reads secret files");
                reads.extend(rest.iter().map(|file| Err(file.silence())));
                break;
            }
        };
        for file in rest {
            // The disk hangs in real time, so the deadline does not use the clock of the bridge.
            if let Ok(Some(read)) = timeout(deadline, results.recv()).await {
                reads.push(read);
            } else {
                reads.push(Err(file.silence()));
                deadline = NEXT_DEADLINE;
                break;
            }
        }
    }
    reads
}

/// Reads the files one after the other on a new thread. The thread ends after the file at which nobody waits for the
/// result any more.
fn start_reading(files: Vec<Arc<SecretFile>>) -> io::Result<UnboundedReceiver<SecretRead>> {
    let (send, results) = unbounded_channel();
    let read = move || {
        yield_to_delivery();
        for file in files {
            if send.send(file.read()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("secrets".to_owned())
        .spawn(read)?;
    Ok(results)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use secrecy::{ExposeSecret as _, SecretString};

    use super::super::held_secret::LossRule;
    use super::super::secret_file::{CheckSecret, SecretForm, SecretPlace};
    use super::*;
    use crate::config::Profile;

    /// Returns the secrets, and `silent` for a file that does not respond.
    fn shown(reads: Vec<SecretRead>) -> Vec<String> {
        let shown = reads.into_iter().map(|read| match read {
            Ok(secret) => secret.expose_secret().to_owned(),
            Err(SecretFileError::Silent(_)) => "silent".to_owned(),
            Err(other) => format!("{other:?}"),
        });
        shown.collect()
    }

    /// FAULTS N613: a file does not respond. The other files are read, and no second thread waits for the file.
    #[tokio::test]
    async fn a_file_that_does_not_respond_delays_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let (respond, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let hang: CheckSecret = Arc::new(move |_secret: &SecretString| {
            // The end of the channel makes the file respond from then on.
            let _end = wait.lock().unwrap().recv();
            Ok(())
        });
        let good: CheckSecret = Arc::new(|_secret| Ok(()));
        let file = |name: &str, check: &CheckSecret| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            SecretFile::unread(SecretPlace {
                owner: name.to_owned(),
                path,
                form: SecretForm::Line,
                profile: Profile::Local,
                rule: LossRule::EndAtOnce,
                check: Arc::clone(check),
            })
        };
        let files = [file("a", &good), file("b", &hang), file("c", &good)];
        let deadline = Duration::from_millis(300);
        assert_eq!(
            shown(read_all(&files, deadline).await),
            ["a", "silent", "c"]
        );
        // The thread of the first read still has the file, so the second read does not wait.
        let second = timeout(Duration::from_millis(250), read_all(&files, deadline));
        assert_eq!(shown(second.await.unwrap()), ["a", "silent", "c"]);
        drop(respond);
        let mut reads = Vec::new();
        for _ in 0..20 {
            sleep(Duration::from_millis(20)).await;
            reads = shown(read_all(&files, deadline).await);
        }
        assert_eq!(reads, ["a", "b", "c"]);
    }
}
