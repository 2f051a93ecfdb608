// A program with MSAL Node whose cache is in Redis by DistributedCachePlugin. It reads a command a line (JSON) from its standard input,
// and answers each with a line. It ends with its input.
import { createInterface } from "node:readline";

import { createClient } from "@redis/client";
import { ConfidentialClientApplication, DistributedCachePlugin, PublicClientApplication } from "@azure/msal-node";

const { AUTHORITY, CLIENT_ID, CLIENT_SECRET, REDIS_URL } = process.env;

const redis = await createClient({ url: REDIS_URL }).connect();

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

function application() {
    const configuration = {
        auth: {
            clientId: CLIENT_ID,
            authority: AUTHORITY,
            knownAuthorities: [new URL(AUTHORITY).host],
        },
        cache: { cachePlugin: new DistributedCachePlugin(client, partitionManager) },
    };
    if (!CLIENT_SECRET) {
        return new PublicClientApplication(configuration);
    }
    configuration.auth.clientSecret = CLIENT_SECRET;
    return new ConfidentialClientApplication(configuration);
}

// A web application has one for each request, a tool one for its life.
let current = application();

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
    restart: async () => {
        current = application();
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
await redis.close();
