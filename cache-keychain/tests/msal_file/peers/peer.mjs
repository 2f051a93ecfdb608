// A program that locks by MSAL Node's CrossPlatformLock; driven line by line. Arguments: the directory of the package, the cache file.
import { promises as fs } from "fs";
import { createInterface } from "readline";
import { pathToFileURL } from "url";

const [directory, path] = process.argv.slice(2);
// The one file: the package's index would load its native part.
const { CrossPlatformLock } = await import(pathToFileURL(`${directory}/dist/lock/CrossPlatformLock.mjs`));
const quiet = { info() {}, warning() {}, error() {} };
const lock = new CrossPlatformLock(`${path}.lockfile`, quiet, { retryNumber: 3000, retryDelay: 20 });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function add(name) {
    const text = await fs.readFile(path, "utf-8").catch(() => "");
    const document = JSON.parse(text || "{}");
    (document.RefreshToken ??= {})[name] = { secret: name };
    const changed = JSON.stringify(document);
    const file = await fs.open(path, "w", 0o600);
    await pause(2);
    await file.write(changed.slice(0, changed.length / 2));
    await pause(2);
    await file.write(changed.slice(changed.length / 2));
    await file.close();
}

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
    const [command, argument] = line.split(" ");
    try {
        if (command === "lock") await lock.lock();
        else if (command === "unlock") await lock.unlock();
        else if (command === "add") {
            await lock.lock();
            await add(argument);
            await lock.unlock();
        }
        console.log("done");
    } catch (error) {
        console.log("failed", String(error));
    }
}
