// Checks resources against the schemas of their operators. In: a JSON array of resources. Out: a JSON array with a word
// for each: null if it is right, else what is wrong. The argument is the folder whose `node_modules`
// has the schemas.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "keda.sh": "@kubernetes-models/keda",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
};

const told = [];
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const [group] = resource.apiVersion.split("/");
  try {
    const path = `${process.argv[2]}/node_modules/${PACKAGES[group]}/${resource.apiVersion}/${resource.kind}.js`;
    const found = await import(pathToFileURL(path));
    const Model = found[resource.kind] ?? found.default[resource.kind];
    new Model(resource).validate();
    told.push(null);
  } catch (error) {
    told.push(error.message);
  }
}
process.stdout.write(JSON.stringify(told));
