// Runs a script of the action in bash, with its inputs as variables that bash can read. Node.js is here because only
// an action of its kind has a step that runs after the job's last one.
const { spawnSync } = require('node:child_process');
const path = require('node:path');

const INPUTS = ['stack', 'role-to-assume', 'region', 'architectures', 'project', 'branch', 'timeout', 'python'];

function variableOf(input) {
  return `CDK_BUILDKIT_${input.toUpperCase().replaceAll('-', '_')}`;
}

exports.run = (script) => {
  const given = INPUTS.map((input) => [variableOf(input), (process.env[`INPUT_${input.toUpperCase()}`] ?? '').trim()]);
  const environment = { ...process.env, ...Object.fromEntries(given) };
  const done = spawnSync('bash', [path.join(__dirname, script)], { env: environment, stdio: 'inherit' });
  if (done.error) {
    console.log(`::error::bash does not run here: ${done.error.message}; this action is for runners on Linux`);
  }
  process.exitCode = done.status ?? 1;
};
