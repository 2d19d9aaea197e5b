// Lists what is left in the job's own directory, before the runner removes it.
const { readdirSync } = require('node:fs');

for (const name of readdirSync(process.env.RUNNER_TEMP, { recursive: true })) {
  console.log(`left: ${name}`);
}
console.log('left: no more');
