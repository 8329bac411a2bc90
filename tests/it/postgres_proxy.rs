//! A proxy in front of a PostgreSQL server, which can break the connections of its clients although the server goes on.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::Builder;

use imprint_bridge::outbox::{ClaimBounds, PostgresOutbox};
use imprint_bridge::sealing::KeyRing;
use tempfile::TempDir;

use crate::postgres::PostgresDatabase;

/// The name of the socket of a server, inside its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// A running proxy.
pub(crate) struct PostgresProxy {
    folder: TempDir,
    clients: Arc<Mutex<Vec<UnixStream>>>,
}

impl PostgresProxy {
    /// Starts a proxy in front of the server of this database.
    pub(crate) fn start(database: &PostgresDatabase) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let clients = Arc::<Mutex<Vec<UnixStream>>>::default();
        let (server, accepted) = (database.folder().join(SOCKET), Arc::clone(&clients));
        let accept = move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                accepted.lock().unwrap().push(client.try_clone().unwrap());
                let _refused = forward(&server, &client);
            }
        };
        Builder::new().spawn(accept).unwrap();
        Self { folder, clients }
    }

    /// Opens the store in this database through the proxy.
    pub(crate) fn open(&self, database: &PostgresDatabase) -> PostgresOutbox {
        let keys = (ClaimBounds::default(), Arc::<KeyRing>::default());
        let url = database.url_in(self.folder.path());
        PostgresOutbox::open(&url, 1000, keys, None).unwrap()
    }

    /// Breaks the connections of all clients. The server notices this only when it answers.
    pub(crate) fn cut(&self) {
        for client in self.clients.lock().unwrap().drain(..) {
            let _is_closed = client.shutdown(Shutdown::Both);
        }
    }
}

/// Forwards the bytes of a connection in both directions. The connection to the server outlives the client's: it ends when
/// the server has answered, or closes it.
fn forward(server: &Path, client: &UnixStream) -> io::Result<()> {
    let server = UnixStream::connect(server)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let (mut from_server, mut to_client) = (server, client.try_clone()?);
    Builder::new().spawn(move || io::copy(&mut from_client, &mut to_server))?;
    let answer = move || {
        let copied = io::copy(&mut from_server, &mut to_client);
        let _is_closed = to_client.shutdown(Shutdown::Both);
        copied
    };
    Builder::new().spawn(answer)?;
    Ok(())
}
