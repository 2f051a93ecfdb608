// A program with MSAL Node whose cache is in Redis by DistributedCachePlugin, in a file or an item of the Secret Service by the
// PersistenceCachePlugin of its extensions, or in memory. It reads a command a line (JSON) from its standard input, and answers each with a line. It ends with its input.
import { createInterface } from "node:readline";

import { createClient } from "@redis/client";
import { ConfidentialClientApplication, DistributedCachePlugin, PublicClientApplication } from "@azure/msal-node";

const { AUTHORITY, CLIENT_ID, CLIENT_SECRET, REDIS_URL, CACHE_FILE, CACHE_ITEM } = process.env;

const redis = REDIS_URL ? await createClient({ url: REDIS_URL }).connect() : undefined;

// The key that the application looks under; a web application has it in its session.
let currentKey = "";

const client = {
    get: async (key) => (await redis.get(key)) ?? "",
    set: async (key, value) => {
        await redis.set(key, value, { EX: 86400 });
        return value;
    },
};
const partitionManager = {
    getKey: async () => currentKey,
    extractKey: async (account) => account.homeAccountId,
};

// The package's entry point loads what it has for keychains and brokers, which needs compiled parts; a cache in a file does not.
async function fileCachePlugin() {
    const extensions = new URL("node_modules/@azure/msal-node-extensions/dist/persistence/", import.meta.url);
    const { PersistenceCachePlugin } = await import(new URL("PersistenceCachePlugin.mjs", extensions));
    if (CACHE_ITEM) {
        const { LibSecretPersistence } = await import(new URL("LibSecretPersistence.mjs", extensions));
        const { service, account } = JSON.parse(CACHE_ITEM);
        return new PersistenceCachePlugin(await LibSecretPersistence.create(CACHE_FILE, service, account));
    }
    const { FilePersistence } = await import(new URL("FilePersistence.mjs", extensions));
    return new PersistenceCachePlugin(await FilePersistence.create(CACHE_FILE));
}

async function cachePlugin() {
    if (CACHE_FILE) {
        return fileCachePlugin();
    }
    return redis ? new DistributedCachePlugin(client, partitionManager) : undefined;
}

// Whether rows name the authority with its port, as MSAL Node does on its own.
let keepsPorts = false;

async function application() {
    const { host, hostname } = new URL(AUTHORITY);
    const configuration = {
        auth: {
            clientId: CLIENT_ID,
            authority: AUTHORITY,
            knownAuthorities: [host],
        },
        cache: { cachePlugin: await cachePlugin() },
    };
    if (CACHE_FILE && !keepsPorts) {
        // MSAL Python knows no ports, and finds no row that has one.
        const aliases = { preferred_network: host, preferred_cache: hostname, aliases: [host, hostname] };
        configuration.auth.cloudDiscoveryMetadata = JSON.stringify({
            tenant_discovery_endpoint: `${AUTHORITY}/v2.0/.well-known/openid-configuration`,
            metadata: [aliases],
        });
    }
    if (!CLIENT_SECRET) {
        return new PublicClientApplication(configuration);
    }
    configuration.auth.clientSecret = CLIENT_SECRET;
    return new ConfidentialClientApplication(configuration);
}

// A web application has one for each request, a tool one for its life.
let current = await application();

async function account(homeAccountId) {
    return current.getTokenCache().getAccountByHomeId(homeAccountId);
}

function shown(result) {
    return {
        accessToken: result.accessToken,
        fromCache: result.fromCache,
        homeAccountId: result.account?.homeAccountId,
        username: result.account?.username,
    };
}

const commands = {
    keepPorts: async () => {
        keepsPorts = true;
        current = await application();
        return {};
    },
    restart: async () => {
        current = await application();
        return {};
    },
    app: async ({ scopes }) => shown(await current.acquireTokenByClientCredential({ scopes })),
    deviceCode: async ({ scopes }) =>
        shown(await current.acquireTokenByDeviceCode({ scopes, deviceCodeCallback: () => {} })),
    accounts: async () => (await current.getTokenCache().getAllAccounts()).map((found) => found.username),
    silent: async ({ scopes, homeAccountId, forceRefresh }) => {
        const found = await account(homeAccountId);
        if (!found) {
            return { noAccount: true };
        }
        return shown(await current.acquireTokenSilent({ account: found, scopes, forceRefresh }));
    },
    signOut: async ({ homeAccountId }) => {
        await current.getTokenCache().removeAccount(await account(homeAccountId));
        return {};
    },
};

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
    const { command, key, ...rest } = JSON.parse(line);
    currentKey = key;
    let answer;
    try {
        answer = { ok: await commands[command](rest) };
    } catch (error) {
        answer = { error: error.errorCode ?? error.message };
    }
    console.log(JSON.stringify(answer));
}
await redis?.close();
