require('./script.js').run('connect.sh');
