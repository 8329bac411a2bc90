//! The database of a command: the thread of the command runs the statements, and no replica is registered.

use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::connection::{Connected, Connector, DbLink};
use super::database_address::DatabaseAddress;
use super::fault::DbFault;
use super::open_error::PostgresOpenError;

pub(super) struct CommandDatabase {
    runtime: Runtime,
    local: LocalSet,
    pub(super) connector: Connector,
    link: DbLink,
}

impl CommandDatabase {
    pub(super) fn new(address: DatabaseAddress) -> Result<Self, PostgresOpenError> {
        let DatabaseAddress {
            url, password, tls, ..
        } = address;
        let connector = Connector::parse(&url, tls, false)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Ok(Self {
            runtime: runtime.map_err(PostgresOpenError::Thread)?,
            local: LocalSet::new(),
            connector: connector.with_password(password),
            link: DbLink::default(),
        })
    }

    /// Runs a transaction, which possibly runs several times.
    pub(super) fn transact<T>(
        &self,
        work: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, DbFault> {
        self.run(self.connector.transact(&self.link, work))
    }

    /// Runs statements that only read.
    pub(super) fn query<T>(
        &self,
        read: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, DbFault> {
        self.run(self.connector.read(&self.link, read))
    }

    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.local.block_on(&self.runtime, work)
    }
}
