package kit

var membershipCases = []Case{}
