//! A daemon builds single derivations for others.

use crate::store::api::Store;
use crate::store::api::build::{BuildEnd, BuildOrder, BuildStore};
use crate::store::error::Result;
use crate::store::remote::client::session;
use crate::store::remote::daemon_store::DaemonStore;
use crate::store::remote::protocol::order;
use crate::store::remote::protocol::worker::build_result::BuildResult;
use crate::store::remote::protocol::worker::{build_mode, op};

impl BuildStore for DaemonStore {
    fn build(&self, wanted: &BuildOrder<'_>) -> Result<BuildEnd> {
        let (dir, link) = (self.dir(), self.link()?);
        let mut result = link.call(
            |writer| {
                writer.number(op::BUILD_DERIVATION)?;
                order::write(writer, dir, wanted.path, wanted.drv)?;
                writer.number(build_mode::NORMAL)
            },
            |reader| BuildResult::read(reader, link.version()),
        )?;
        result.message = session::told(&result.message);
        result.into_end()
    }
}
