// MSAL Node, measured from within: it reads a command a line (JSON) from its standard input and answers each with a line. It ends with its
// input. Its first argument is the folder in which the packages are installed.
//
// Times are nanoseconds of `process.hrtime.bigint` around the loop alone. Nothing is asked over a network: every request is an error.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/`);
const { ConfidentialClientApplication, PublicClientApplication, version } = require("@azure/msal-node");

const caches = new Map();

class Nobody {
    requests = 0;

    async sendGetRequestAsync(url) {
        this.requests += 1;
        throw new Error(`a request was made: ${url}`);
    }

    async sendPostRequestAsync(url) {
        return this.sendGetRequestAsync(url);
    }
}

// An application with a cache, and what it is asked for.
class Filled {
    nobody = new Nobody();

    static async of(command) {
        const filled = new Filled();
        filled.configuration = {
            auth: { clientId: command.client, authority: command.authority },
            system: { networkClient: filled.nobody },
        };
        if (command.secret) {
            filled.configuration.auth.clientSecret = command.secret;
            filled.application = new ConfidentialClientApplication(filled.configuration);
        } else {
            filled.application = new PublicClientApplication(filled.configuration);
        }
        filled.text = readFileSync(command.file, "utf8");
        filled.cache = filled.application.getTokenCache();
        filled.cache.deserialize(filled.text);
        filled.scopes = command.scopes;
        // As a server keeps them in its users' sessions: to list many takes MSAL minutes.
        filled.accounts = command.accounts;
        return filled;
    }

    async silent(indices) {
        const { application, accounts } = this;
        const scopes = this.scopes[0];
        let found;
        const begin = process.hrtime.bigint();
        for (const index of indices) {
            found = await application.acquireTokenSilent({ scopes, account: accounts[index] });
        }
        return [process.hrtime.bigint() - begin, found.accessToken];
    }

    async application_token(indices) {
        const { application, scopes } = this;
        let found;
        const begin = process.hrtime.bigint();
        for (const index of indices) {
            found = await application.acquireTokenByClientCredential({ scopes: scopes[index] });
        }
        return [process.hrtime.bigint() - begin, found.accessToken];
    }

    async parse(indices) {
        // Each into a cache of its own: one that has read before would merge. Making it is not measured.
        const caches = indices.map(() => new PublicClientApplication(this.configuration).getTokenCache());
        const begin = process.hrtime.bigint();
        for (const cache of caches) {
            cache.deserialize(this.text);
        }
        return [process.hrtime.bigint() - begin, ""];
    }

    async serialise(indices) {
        let text;
        const begin = process.hrtime.bigint();
        for (const _ of indices) {
            text = this.cache.serialize();
        }
        return [process.hrtime.bigint() - begin, text.length * 2 > this.text.length ? "" : "too short"];
    }
}

const commands = {
    load: async (command) => {
        caches.set(command.cache, await Filled.of(command));
        return {};
    },
    forget: async ({ cache }) => {
        caches.delete(cache);
        return {};
    },
    measure: async ({ cache, operation, indices }) => {
        const filled = caches.get(cache);
        const [nanoseconds, last] = await filled[operation](indices);
        return { nanoseconds: Number(nanoseconds), last, requests: filled.nobody.requests };
    },
};

function say(answer) {
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}

say({ ready: `MSAL Node ${version}, Node.js ${process.versions.node}` });
for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
        say({ ok: await commands[command.command](command) });
    } catch (error) {
        say({ error: `${error.name}: ${error.message}` });
    }
}
