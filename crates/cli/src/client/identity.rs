//! Whether the server at an address is the one whose token is to be sent.

use anyhow::bail;
use stateward_api::server_proof::{CHALLENGE, PROOF, proof};

use super::retry::Failed;
use super::send::TIMEOUT;
use super::{Client, Connection};

impl Client {
    /// Makes sure, once, that the server is that of the data directory which the address or the token came from: the
    /// address may be one that a killed server left behind, and its port somebody else's by now.
    ///
    /// # Errors
    /// Another server listens there, or none runs. The inner one: it could not be asked, which may pass.
    pub(super) async fn introduced(&self) -> anyhow::Result<Result<(), (Failed, anyhow::Error)>> {
        let Connection { url, witness, stopped, .. } = &self.connection;
        if let Some(data) = stopped {
            let data = data.display();
            bail!(
                "no server runs on {data} (`stateward serve --data {data}` starts it; --server names another)"
            );
        }
        let Some(token) = witness else { return Ok(Ok(())) };
        if self.known.get().is_some() {
            return Ok(Ok(()));
        }
        let challenge = crate::chance::hexadecimal::<32>()?;
        let asked = self.http.get(format!("{url}/livez")).header(CHALLENGE, &challenge);
        let answer = match asked.timeout(TIMEOUT).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let failed = if error.is_connect() { Failed::Unsent } else { Failed::Lost };
                return Ok(Err((failed, self.unreachable(&error))));
            }
        };
        let given = answer.headers().get(PROOF).and_then(|text| text.to_str().ok());
        if given != Some(proof(token.value(), &challenge).as_str()) {
            let whence = token.whence();
            bail!(
                "{url} is not the server of {whence}, so no token was sent: is that one stopped? (--server names another)"
            );
        }
        // Another task may have come to the same result.
        let _ = self.known.set(());
        Ok(Ok(()))
    }
}
