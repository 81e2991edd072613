// The page that shows the document of the API.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ORIGIN, picture, prepare, visitor } from "./support.mjs";

prepare();

test("the page of the API shows every operation, and asks nobody but the server", async (context) => {
  const page = await visitor(context);
  await page.goto(`${ORIGIN}/docs`);
  const operations = page.locator(".opblock");
  await operations.first().waitFor();
  const { paths } = await (await fetch(`${ORIGIN}/openapi.json`)).json();
  const methods = ["get", "post", "put", "patch", "delete"];
  const documented = Object.values(paths).flatMap((path) => Object.keys(path).filter((name) => methods.includes(name)));
  assert.equal(await operations.count(), documented.length);
  await page.locator("[id$=createPoll]").click();
  await page.locator("[id$=createPoll]").getByText("owner_token").first().waitFor();
  await picture(page, "docs");
});
