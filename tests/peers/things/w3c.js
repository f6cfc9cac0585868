// Two things by node-wot, in the dialect of the W3C: at the first port open to all, at the second
// behind a password. `node w3c.js PORT PORT`, where node finds node-wot by NODE_PATH.
"use strict";

const { Servient } = require("@node-wot/core");
const { HttpServer } = require("@node-wot/binding-http");

const PASSWORD = { username: "me", password: "secret-word" };

async function serve(id, port, security) {
    const servient = new Servient();
    const baseUri = `http://127.0.0.1:${port}`;
    servient.addServer(new HttpServer({ port, address: "127.0.0.1", baseUri, security: [security] }));
    servient.addCredentials({ [id]: PASSWORD });
    const wot = await servient.start();
    const thing = await wot.produce({
        id,
        title: "Room",
        securityDefinitions: { way: security },
        security: ["way"],
        properties: {
            on: { type: "boolean" },
            brightness: { type: "integer", minimum: 0, maximum: 100, unit: "percent" },
            "room temperature": { type: "number", unit: "unit:DEG_C", readOnly: true },
            mode: { type: "string", enum: ["day", "night"] },
        },
    });
    const values = { on: false, brightness: 50, "room temperature": 21.5, mode: "day" };
    for (const name of Object.keys(values)) {
        thing.setPropertyReadHandler(name, async () => values[name]);
        if (name !== "room temperature") {
            thing.setPropertyWriteHandler(name, async (sent) => {
                values[name] = await sent.value();
            });
        }
    }
    await thing.expose();
}

const [open, closed] = process.argv.slice(2).map(Number);
Promise.all([
    serve("urn:dev:ops:room", open, { scheme: "nosec" }),
    serve("urn:dev:ops:closed-room", closed, { scheme: "basic" }),
]).then(
    () => console.log("ready"),
    (error) => {
        console.error(error);
        process.exit(1);
    },
);
